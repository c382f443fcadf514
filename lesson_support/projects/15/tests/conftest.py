import pytest
from fastapi.testclient import TestClient
from school.db import get_session
from school.service import app


@pytest.fixture
def client(session):
    app.dependency_overrides[get_session] = lambda: session
    return TestClient(app)
