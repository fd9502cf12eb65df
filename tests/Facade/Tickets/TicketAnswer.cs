using System.Net;

namespace Facade.Tickets;

internal sealed record TicketAnswer(HttpStatusCode Status, string Body, string[] SetCookies);
