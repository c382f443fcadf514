import os

from alembic import context
from school.models import Base
from sqlalchemy import create_engine

engine = create_engine(os.environ["SCHOOL_DATABASE_URL"])

with engine.connect() as connection:
    context.configure(connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
