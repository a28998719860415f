-- What each person worked in each week from Monday to Sunday, and what that comes to at the rate that Hubstaff has for
-- the member now: an earlier rate is not in the list of members.
SELECT
    daily.organization_id,
    organizations.name AS organization,
    date_trunc('week', daily.date)::date AS week,
    daily.user_id,
    users.name AS person,
    sum(daily.tracked) / 3600.0 AS hours,
    members.pay_rate::numeric AS pay_rate,
    members.currency,
    round(sum(daily.tracked) / 3600.0 * members.pay_rate::numeric, 2) AS amount
FROM tap_hubstaff.daily_activities AS daily
LEFT JOIN tap_hubstaff.organizations ON organizations.id = daily.organization_id
LEFT JOIN tap_hubstaff.users ON users.id = daily.user_id
LEFT JOIN tap_hubstaff.members
    ON members.organization_id = daily.organization_id AND members.user_id = daily.user_id
GROUP BY 1, 2, 3, 4, 5, 7, 8
