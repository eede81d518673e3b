"""Scratch."""
import pytest
from asgiref.sync import sync_to_async
from orgs.models import Organization, User
from django.db import connection
import costs.models

def test_cast(acme, admin_user, member_user, auditor_user, stranger, prices, client_for):
    assert admin_user.check_password("correct horse battery staple")
    client_for(admin_user)
    assert costs.models.PriceList.objects.get().version > 5

@pytest.mark.django_db(transaction=True)
async def test_async(acme):
    assert await Organization.objects.acount() == 1

def test_url(database_url, empty_database_url):
    print(database_url, empty_database_url)

@pytest.mark.postgres_only
def test_pg(db):
    assert connection.vendor == "postgresql"

def test_core():
    assert 1

@pytest.mark.long
def test_long():
    assert 1

@pytest.mark.browser
async def test_b(page):
    assert 1
