"""What handlers find in the application, and in a request."""

from typing import TYPE_CHECKING

from aiohttp import web

from podling.core.access import Principal
from podling.master.alerts.office import AlertOffice
from podling.master.audit_log import AuditLog
from podling.master.context import MasterContext
from podling.master.sampler import Sampler
from podling.master.sessions.beats import Beats
from podling.master.sessions.facts import FactsTable
from podling.master.sessions.registry import Sessions
from podling.master.sessions.relay import Relay
from podling.master.sessions.streams import Streams

if TYPE_CHECKING:  # it uses these keys itself
    from podling.master.api.openapi import Contract

CONTEXT: web.AppKey[MasterContext] = web.AppKey("context", MasterContext)
SESSIONS: web.AppKey[Sessions] = web.AppKey("sessions", Sessions)
STREAMS: web.AppKey[Streams] = web.AppKey("streams", Streams)
RELAY: web.AppKey[Relay] = web.AppKey("relay", Relay)
BEATS: web.AppKey[Beats] = web.AppKey("beats", Beats)
AUDIT: web.AppKey[AuditLog] = web.AppKey("audit", AuditLog)
OFFICE: web.AppKey[AlertOffice] = web.AppKey("office", AlertOffice)
SAMPLER: web.AppKey[Sampler] = web.AppKey("sampler", Sampler)
FACTS: web.AppKey[FactsTable] = web.AppKey("facts", FactsTable)
CONTRACT: web.AppKey["Contract"] = web.AppKey("contract")

AUDITED: web.RequestKey[dict[str, str]] = web.RequestKey("audited", dict)
"""Ids of what a request has made, for the audit: names of the API, beside those in the path."""

PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)
