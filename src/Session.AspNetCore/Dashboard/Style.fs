/// How the pages look: one sheet in the page itself, which the Content-Security-Policy names by its hash. No script, nothing from
/// elsewhere.
namespace Session.AspNetCore

open System
open System.Security.Cryptography
open System.Text

[<RequireQualifiedAccess>]
module internal Style =
    let sheet =
        """
:root{color-scheme:light dark;--paper:#fff;--ground:#f4f5f7;--ink:#1b1f24;--quiet:#535b66;--line:#d3d8de;--strong:#0b57a4;--strong-ink:#fff;--bad:#a4161a;--good:#1a6334;--warn:#7a4b00;--mark:#e3eefb}
@media (prefers-color-scheme:dark){:root{--paper:#1c2026;--ground:#121519;--ink:#e8eaed;--quiet:#a9b1bb;--line:#3a424d;--strong:#8ab8f0;--strong-ink:#0c1621;--bad:#ff9a94;--good:#86d6a0;--warn:#f0c274;--mark:#1d3147}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
.wide{max-width:64rem;margin:0 auto;padding:0 1rem}
header .wide{padding-top:1.25rem}
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 1rem}
h2{font-size:1.15rem;margin:0 0 .75rem}
a{color:var(--strong)}
:focus-visible{outline:3px solid var(--strong);outline-offset:2px}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;background:var(--paper);padding:.5rem}
.card{background:var(--paper);border:1px solid var(--line);border-radius:.6rem;padding:1rem;margin:0 0 1rem}
.quiet{color:var(--quiet)}
.note{background:var(--mark);border-radius:.5rem;padding:.6rem .9rem;margin:0 0 1rem}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
.counts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:0;padding:0;list-style:none}
.counts li{border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.counts strong{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.list{list-style:none;margin:0;padding:0}
.list>li{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;justify-content:space-between;padding:.8rem 0;border-top:1px solid var(--line)}
.list>li:first-child{border-top:0}
.list p{margin:0}
.tag{background:var(--mark);border-radius:1rem;padding:.1rem .6rem;font-size:.85rem;white-space:nowrap}
button{font:inherit;color:var(--strong);background:none;border:1px solid currentColor;border-radius:.4rem;padding:.45rem .9rem;min-height:2.75rem;cursor:pointer}
button.strong{background:var(--strong);color:var(--strong-ink);border-color:var(--strong)}
button.danger{color:var(--bad)}
.search{display:flex;flex-wrap:wrap;gap:.5rem;align-items:end;margin:0 0 1rem}
.search div{flex:1 1 14rem}
label{display:block;font-weight:600}
input[type=search]{font:inherit;width:100%;min-height:2.75rem;padding:.4rem .6rem;color:inherit;background:var(--paper);border:1px solid var(--quiet);border-radius:.4rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.94rem}
caption{text-align:left;color:var(--quiet)}
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-top:1px solid var(--line)}
td.number{font-variant-numeric:tabular-nums}
summary{cursor:pointer;min-height:2rem}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.3rem 1rem;margin:0}
dt{color:var(--quiet)}dd{margin:0}
pre{white-space:pre-wrap;margin:0}
code{font-size:.94em}
svg{display:block;width:100%;height:auto;fill:currentColor}
svg.life{max-width:25rem}
svg .box{fill:var(--paper);stroke:var(--line);stroke-width:1.5}
svg .now{fill:var(--mark);stroke:var(--strong);stroke-width:2.5}
svg .way{stroke:var(--quiet);stroke-width:1.5;fill:none}
svg .tip{fill:var(--quiet)}
svg .past{opacity:.75}
svg .name{font:600 15px system-ui,sans-serif}
svg .when{font:13px system-ui,sans-serif;fill:var(--quiet)}
svg .began,.swatch.began{fill:var(--strong);background:var(--strong)}
svg .over,.swatch.over{fill:var(--warn);background:var(--warn)}
svg .live{stroke:var(--good);stroke-width:2;fill:none}
.swatch.live{background:var(--good)}
.swatch{display:inline-block;width:.8em;height:.8em;margin-right:.35em;border-radius:.15em}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.5rem 0;padding:0;list-style:none}
footer{padding:0 0 2rem}
"""

    let private hash = Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes sheet))

    /// No script at all, no frame around the page, forms to this site only.
    let policy =
        String.Concat(
            "default-src 'none'; style-src 'sha256-",
            hash,
            "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
