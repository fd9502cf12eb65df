/// Who sees the inside: the faces, and the evidence, which runs the very code that ships.
namespace Session.Engine

open System.Runtime.CompilerServices

[<assembly: InternalsVisibleTo "Session.AspNetCore">]
[<assembly: InternalsVisibleTo "Session.OpenIdConnect">]
[<assembly: InternalsVisibleTo "Properties">]
[<assembly: InternalsVisibleTo "Simulation">]
[<assembly: InternalsVisibleTo "Facade">]
[<assembly: InternalsVisibleTo "Micro">]
[<assembly: InternalsVisibleTo "Growth">]
do ()
