import os

from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

engine = create_engine(os.environ["SCHOOL_DATABASE_URL"])


def get_session():
    with Session(engine) as session:
        yield session


if engine.dialect.name == "sqlite":

    @event.listens_for(engine, "connect")
    def prepare(connection, record):
        connection.execute("PRAGMA foreign_keys=ON")
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN")
