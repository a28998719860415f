"""All streams, in the order in which they are documented and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_hubstaff.streams import list_streams, owned_streams, window_streams
from tap_hubstaff.work_sessions.stream import TimeSessions

if TYPE_CHECKING:
    from tap_hubstaff.streams.base import HubstaffStream

STREAMS: tuple[type[HubstaffStream], ...] = (
    list_streams.Organizations,
    list_streams.Users,
    list_streams.Members,
    list_streams.Projects,
    list_streams.ProjectMembers,
    list_streams.Tasks,
    list_streams.GlobalTodos,
    list_streams.Clients,
    list_streams.Teams,
    owned_streams.TeamMembers,
    owned_streams.TeamProjects,
    list_streams.Invites,
    window_streams.DailyActivities,
    window_streams.Activities,
    TimeSessions,
    list_streams.LastActivities,
    list_streams.Timesheets,
    window_streams.TimeEditLogs,
    window_streams.Notes,
    window_streams.DailyToolUsages,
    window_streams.ToolUsages,
    window_streams.Screenshots,
    window_streams.Locations,
    list_streams.JobSites,
    window_streams.JobSiteVisits,
    window_streams.PassiveJobSiteVisits,
    list_streams.AttendanceSchedules,
    window_streams.AttendanceShifts,
    list_streams.TimeOffPolicies,
    list_streams.TimeOffRequests,
    list_streams.TimeOffBalances,
    list_streams.Holidays,
    list_streams.TeamPayments,
    list_streams.ClientInvoices,
    list_streams.TeamInvoices,
    list_streams.Rates,
    list_streams.BudgetHistories,
    list_streams.LimitHistories,
    list_streams.Integrations,
    owned_streams.IntegrationProjectLinks,
    owned_streams.IntegrationUserLinks,
    owned_streams.IntegrationTasks,
    list_streams.SmartNotificationRules,
    window_streams.SmartNotifications,
    window_streams.UnusualActivities,
    list_streams.WorkBreakProjects,
    list_streams.Seats,
)
"""A new stream is added here."""
