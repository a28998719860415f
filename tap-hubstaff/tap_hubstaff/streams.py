"""All streams, in the order of the documentation; a tap reads them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_hubstaff import feeds, lists
from tap_hubstaff.work_sessions.stream import TimeSessions

if TYPE_CHECKING:
    from tap_hubstaff.stream import HubstaffStream

STREAMS: tuple[type[HubstaffStream], ...] = (
    lists.Organizations,
    lists.Users,
    lists.Members,
    lists.Projects,
    lists.ProjectMembers,
    lists.Tasks,
    lists.GlobalTodos,
    lists.Clients,
    lists.Teams,
    lists.TeamMembers,
    lists.TeamProjects,
    lists.Invites,
    feeds.DailyActivities,
    feeds.Activities,
    TimeSessions,
    lists.LastActivities,
    lists.Timesheets,
    feeds.TimeEditLogs,
    feeds.Notes,
    feeds.DailyToolUsages,
    feeds.ToolUsages,
    feeds.Screenshots,
    feeds.Locations,
    lists.JobSites,
    feeds.JobSiteVisits,
    feeds.PassiveJobSiteVisits,
    lists.AttendanceSchedules,
    feeds.AttendanceShifts,
    lists.TimeOffPolicies,
    lists.TimeOffRequests,
    lists.TimeOffBalances,
    lists.Holidays,
    lists.TeamPayments,
    lists.ClientInvoices,
    lists.TeamInvoices,
    lists.Rates,
    lists.BudgetHistories,
    lists.LimitHistories,
    lists.Integrations,
    lists.IntegrationProjectLinks,
    lists.IntegrationUserLinks,
    lists.IntegrationTasks,
    lists.SmartNotificationRules,
    feeds.SmartNotifications,
    feeds.UnusualActivities,
    lists.WorkBreakProjects,
    lists.Seats,
)
"""Every one; the tap finds them by name."""
