/// Who sees the inside: the C# face, and the evidence.
namespace Session.AspNetCore

open System.Runtime.CompilerServices

[<assembly: InternalsVisibleTo "Session.CSharp">]
[<assembly: InternalsVisibleTo "Properties">]
do ()
