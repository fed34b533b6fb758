"""Signing in to the console."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from unfold.forms import AuthenticationForm

from orchestrator_site.api.exceptions import logged
from orchestrator_site.api.passwords import TooManyLogins, check_password
from orchestrator_site.api.throttling import RateLimited


class LoginForm(AuthenticationForm):
    """The console's form, with wrong passwords counted."""

    def clean(self) -> dict[str, Any]:
        username, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if username is not None and password:
            self.user_cache = check_password(self.request, username=username, password=password)
            if self.user_cache is None:
                raise self.get_invalid_login_error()
            self.confirm_login_allowed(self.user_cache)
        return self.cleaned_data


@never_cache
def login(request: HttpRequest) -> HttpResponse:
    """Show the login page, or that it is too early to try again."""
    try:
        return admin.site.login(request)
    except (RateLimited, TooManyLogins) as refusal:
        wrong = isinstance(refusal, RateLimited)
        context = {"wait": refusal.wait, "wrong": wrong}
        page = render(request, "login_refused.html", context, status=429 if wrong else 503)
        page.headers["Retry-After"] = str(refusal.wait)
        return logged(page)
