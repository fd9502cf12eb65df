/// Who sees the inside: the C# face, the evidence, and what measures it.
namespace Session.AspNetCore

open System.Runtime.CompilerServices

[<assembly: InternalsVisibleTo "Session.CSharp">]
[<assembly: InternalsVisibleTo "Session.OpenIdConnect">]
[<assembly: InternalsVisibleTo "Properties">]
[<assembly: InternalsVisibleTo "Simulation">]
[<assembly: InternalsVisibleTo "Facade">]
[<assembly: InternalsVisibleTo "Micro">]
do ()
