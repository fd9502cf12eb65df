using System.Net;

namespace Session.Stores.Redis;

/// <summary>
/// What a write is sent over: the server that the driver takes for the owner of its key, and which of the connections to it.
/// Two that are not equal: in between the key may have got another owner, or a new connection may have been opened.
/// </summary>
/// <param name="Server">The server.</param>
/// <param name="Connection">How many connections to it there have been.</param>
internal readonly record struct Sender(EndPoint Server, long Connection);
