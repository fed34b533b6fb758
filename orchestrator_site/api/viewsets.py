"""The base of every API door: who, how often, checked input, one answer per key.

An action that is a coroutine is answered on the event loop by `server.loop_adapter`, and hands its
work to the group commit. Everywhere else the same coroutine is carried out in place.
"""

import contextlib
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from django.core.exceptions import SynchronousOnlyOperation
from rest_framework import viewsets
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from orchestrator_site.api import compiled, idempotency, long_poll, throttling
from orchestrator_site.api.negotiation import RENDERER, ensure_json_is_taken
from orchestrator_site.api.parsers import is_plain_json, read_bounded
from orchestrator_site.core import times
from orchestrator_site.core.actors import Actor, Role
from orchestrator_site.core.errors import Invalid, TooMany
from orchestrator_site.infra.group_commit import Grouped, Inline, Work

T = TypeVar("T")
INLINE = Inline()
CACHING = "no-store"  # for nobody on the way to keep
LARGE_BODY = 16_384  # bytes; more is read in a thread: 1 MiB of JSON takes up to 10 ms


class LengthRequired(APIException):
    """A body came without its length."""

    status_code = 411
    default_detail = "Send the body with a Content-Length."


class ApiViewSet(viewsets.ViewSet):
    """A viewset that only declares; identity, role, rate and refusals are settled here."""

    # By action: the least role (None is public, not named is admin only), and a key of
    # settings.RATE_LIMITS (not named is "other").
    roles: ClassVar[dict[str, Role | None]] = {}
    rate_scopes: ClassVar[dict[str, str]] = {}
    counts_addresses: ClassVar[bool] = False  # count by client address, whoever calls
    # Also where the action is public: else it serves who sends a bad credential as nobody.
    refuses_bad_credentials: ClassVar[bool] = False
    # For the schema: actions that take an Idempotency-Key, bodies that work as they stand by
    # action,
    # and the noun in operation ids if it is not the name of the class.
    once_actions: ClassVar[tuple[str, ...]] = ("create",)
    examples: ClassVar[dict[str, Any]] = {}
    noun: ClassVar[str] = ""
    http_method_names = ("get", "post", "put", "patch", "delete", "head")  # others are a 405
    _body: dict[str, Any] | APIException | None = None
    executor: Inline | Grouped = INLINE  # the server's own on requests of its event loop
    actor: Actor  # None where nobody is known and the action is public

    @property
    def now(self) -> datetime:
        return times.now()

    async def admit(self, request: Request) -> None:
        """Settle who calls, count the request, then whether they may: in this order."""
        if self.authentication_classes:  # others must answer without a database
            await self.executor.prepare()
        actor: Actor | None = None
        failure: APIException | TooMany | None = None
        try:
            actor = await self.run_blocking(lambda: cast(Actor | None, request.user))
        except (APIException, TooMany) as refusal:
            failure = refusal
        self.actor = cast(Actor, actor)
        await self.count(request, actor)
        needed = self.roles.get(self.action or "", Role.ADMIN)
        if failure is not None and (needed is not None or self.refuses_bad_credentials):
            raise failure
        ensure_json_is_taken(self.meta.get("HTTP_ACCEPT", ""))
        if "HTTP_TRANSFER_ENCODING" in self.meta and not self.meta.get("CONTENT_LENGTH"):
            raise LengthRequired
        await self.run_blocking(partial(self.check_permissions, request))

    async def run_blocking(self, function: Callable[[], T]) -> T:
        """Return what a function returns; in a thread if it turns out to ask the database.

        It may be called twice, and so must do nothing before it asks.
        """
        try:
            return function()
        except SynchronousOnlyOperation:
            return cast(T, await self.executor.call(function))

    async def write(self, work: Work, item: Any) -> Any:
        """Return the outcome of one item of a work, once it is committed; raise its refusal."""
        return unwrapped(await self.executor.write(work, item))

    async def write_or_wait(
        self, work: Work, make: Callable[..., Any], wait: long_poll.Wait
    ) -> Any:
        """Return the outcome of an item as soon as one is true, a false one when the time is over.

        make: returns the item of an attempt, `by` whom the credential speaks for then, and `now`.
        """
        waits = long_poll.continuation_of(self.request)
        if waits is None or not wait.seconds or self.executor is INLINE:  # on a thread none waits
            return await self.write(work, make(by=self.actor, now=self.now))
        wait = replace(wait, credential=self.actor.credential)
        item = lambda: make(by=self.caller_now(), now=self.now)  # noqa: E731 - it is passed on
        begins = cast(Grouped, self.executor).write_later
        return await waits.attend(wait, partial(begins, work, item))

    def caller_now(self) -> Actor:
        """Return who calls; raise why their credential is good no longer."""
        request = self.initialize_request(self.request._request)
        self.check_permissions(request)
        return cast(Actor, request.user)

    async def read(self, work: Work, item: Any) -> Any:
        """Return the outcome of one item of a work that only reads; raise its refusal."""
        return unwrapped(await self.executor.read(work, item))

    def rate_scope(self) -> str:
        """Return what this request counts as: a key of `settings.RATE_LIMITS`."""
        return self.rate_scopes.get(self.action or "", "other")

    async def count(self, request: Request, actor: Actor | None) -> None:
        """Count the request; raise RateLimited when it is one too many."""
        bucket = self.bucket(actor)
        # A request that waits is run again and again, and counted once.
        self.note_usage(await long_poll.once_per_request(request, "usage", bucket.add))

    async def count_items(self, items: int) -> None:
        """Count the items of a batch, of which the request was one.

        Raise RateLimited when they are too many for this minute, Invalid when for any.
        """
        bucket = self.bucket(self.actor)
        if items > bucket.limit:
            raise Invalid(f"At most {bucket.limit} items a minute are allowed; send fewer at once.")
        if items > 1:
            self.note_usage(await bucket.add_all(items - 1))

    def bucket(self, actor: Actor | None) -> throttling.Bucket:
        """Return where this request counts."""
        whose = None if self.counts_addresses else actor
        address = "" if whose else throttling.client_address(self.meta)
        return throttling.bucket_of(self.rate_scope(), actor=whose, address=address)

    def note_usage(self, usage: throttling.Usage) -> None:
        """Keep what the answer's headers say; raise RateLimited when it was too much."""
        self.request._request.rate_usage = usage  # type: ignore[attr-defined] # the middleware writes the headers
        if usage.refused:
            raise throttling.RateLimited(usage)

    def checked(self, serializer_class: type[BaseSerializer], data: Any = None) -> dict[str, Any]:
        """Return the checked body, or the checked data if given; raise ValidationError."""
        context = {"caller": self.actor.name if self.actor else None}
        return compiled.checked(serializer_class, self.body() if data is None else data, context)

    def asked(self, serializer_class: type[BaseSerializer]) -> dict[str, Any]:
        """Return the checked query parameters, laid over the body where the method has one."""
        body = {} if self.request.method in ("GET", "HEAD") else self.body()
        return self.checked(serializer_class, {**body, **single(self.request.query_params)})

    def body(self) -> dict[str, Any]:
        """Return the JSON object of the body, empty if none was sent; raise each time it is bad."""
        if self._body is None:
            try:
                self._body = self.parsed()
            except APIException as refusal:  # REST framework would say it only once
                self._body = refusal
        if isinstance(self._body, APIException):
            raise self._body
        return self._body.copy()

    def parsed(self) -> dict[str, Any]:
        """Return the body as a parser reads it. REST framework's way to a parser costs as much."""
        if is_plain_json(self.meta):
            return read_bounded(self.request._request)
        return dict(self.request.data or {})

    def _read_body(self) -> None:
        """Have the body, or what is wrong with it, at hand."""
        with contextlib.suppress(APIException):
            self.body()

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer a request: on the event loop a coroutine does, elsewhere this thread."""
        self.executor = getattr(request, "executor", INLINE)
        answer = self.answer(request, *args, **kwargs)
        return answer if self.executor is not INLINE else in_place(answer)

    async def answer(self, http: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer a request as REST framework does, and drop all that was needed for it.

        Its objects refer to each other in rings: a page of 4 MiB would stay in memory until the
        garbage collector happens to run. On the event loop the answer is rendered by the server.
        """
        self.args, self.kwargs, self.meta, self.format_kwarg = args, kwargs, http.META, None
        self.request = request = self.initialize_request(http, *args, **kwargs)
        try:
            await self.admit(request)
            if is_large(self.meta):
                await self.executor.call(self._read_body)
            answer = self.handler(request)(request, *args, **kwargs)
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception as error:
            answer = self.handle_exception(error)
        if self.executor is INLINE:
            answer = self.rendered(request, answer)
        request.parser_context = {}
        self.__dict__.clear()
        return answer

    def rendered(self, request: Request, answer: Any) -> Any:
        """Return an answer as Django sends it."""
        request.accepted_renderer, request.accepted_media_type = RENDERER, RENDERER.media_type
        self.headers = self.default_response_headers
        answer = self.finalize_response(request, answer, *self.args, **self.kwargs)
        answer.headers.setdefault("Cache-Control", CACHING)
        if isinstance(answer, Response):
            answer.render()
            answer.renderer_context, answer.data = {}, None  # type: ignore[attr-defined]
        return answer

    def handler(self, request: Request) -> Callable[..., Any]:
        """Return the method that answers a request, or the one that refuses its method."""
        name = str(request.method).lower()
        found = getattr(self, name, None) if name in self.http_method_names else None
        return found or self.http_method_not_allowed

    async def write_once(
        self,
        work: Work,
        item: Any,
        answer: Callable[[Any], Mapping[str, Any]],
        *,
        key: str | None = None,
        body: Mapping[str, Any] | None = None,
        shown_once: str = "",
    ) -> Response:
        """Write one item of a work and answer with what `answer` makes of its outcome.

        With a key it is written the first time only. key: counts where no Idempotency-Key was sent.
        body: what counts as the request's content, if not its body. shown_once: the field of the
        answer that a repetition does not show again.
        """
        key = self.meta.get("HTTP_IDEMPOTENCY_KEY", key)
        if key is None:
            return Response(answer(await self.write(work, item)))
        keyed = idempotency.Keyed(
            work=work,
            item=item,
            write=answer,
            principal=self.actor.name,
            key=idempotency.checked_key(key),
            operation=f"{self.request.method} {self.request.path}",
            body=self.body() if body is None else body,
            now=self.now,
            shown_once=shown_once,
        )
        text, again = await self.write(idempotency.answer_all, keyed)
        return Response(text, headers={"Idempotent-Replay": "true"} if again else None)

    def once(self, perform: Callable[[], Mapping[str, Any]], *, shown_once: str = "") -> Response:
        """Answer with what `perform` returns in this thread; with a key as `write_once` does."""
        work: Work = lambda items: [perform() for _ in items]  # noqa: E731 - it is passed on
        return in_place(self.write_once(work, None, lambda answer: answer, shown_once=shown_once))


def is_large(meta: Mapping[str, Any]) -> bool:
    """Return whether a body says that it is more than the event loop should read."""
    length = str(meta.get("CONTENT_LENGTH") or "")
    return length.isdecimal() and int(length) > LARGE_BODY


def single(query: Mapping[str, Any]) -> dict[str, str]:
    """Return query parameters as plain values; raise ValidationError for one given twice."""
    twice = [name for name, values in query.lists() if len(values) > 1]  # type: ignore[attr-defined]
    if twice:
        raise ValidationError({twice[0]: ["Give it only once."]})
    return {name: values[0] for name, values in query.lists()}  # type: ignore[attr-defined]


def unwrapped(outcome: Any) -> Any:
    """Return an outcome, or raise it if it is a refusal or a fault."""
    if not isinstance(outcome, Exception):
        return outcome
    try:
        raise outcome
    finally:
        del outcome  # else it and its traceback hold each other


def in_place(answer: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing."""
    try:
        answer.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    answer.close()
    raise RuntimeError("A coroutine waits although nothing here would wake it.")
