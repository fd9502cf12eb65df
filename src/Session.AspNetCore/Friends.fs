/// Who sees the inside: the evidence.
namespace Session.AspNetCore

open System.Runtime.CompilerServices

[<assembly: InternalsVisibleTo "Properties">]
do ()
