/// A page as a tree: whatever comes from outside is encoded where the tree becomes text, and there is no other way in.
namespace Session.AspNetCore

open System.Text
open System.Text.Encodings.Web

[<RequireQualifiedAccess>]
type internal Html =
    | Text of string
    | Element of name: string * attributes: (string * string) list * children: Html list
    /// The library's own style sheet, and nothing else: it is not encoded.
    | Sheet of string
    | Many of Html list

[<RequireQualifiedAccess>]
module internal HtmlText =
    let private hasNoEnd name =
        match name with
        | "br"
        | "input"
        | "meta" -> true
        | _ -> false

    let rec private write (into: StringBuilder) (html: Html) : unit =
        match html with
        | Html.Text text -> into.Append(HtmlEncoder.Default.Encode text) |> ignore
        | Html.Sheet sheet -> into.Append("<style>").Append(sheet).Append("</style>") |> ignore
        | Html.Many parts -> List.iter (write into) parts
        | Html.Element(name, attributes, children) ->
            into.Append('<').Append(name) |> ignore

            for key, value in attributes do
                into.Append(' ').Append(key).Append("=\"").Append(HtmlEncoder.Default.Encode value).Append('"')
                |> ignore

            into.Append('>') |> ignore

            if not (hasNoEnd name) then
                List.iter (write into) children
                into.Append("</").Append(name).Append('>') |> ignore

    let render (html: Html) : string =
        let into = StringBuilder("<!doctype html>")
        write into html
        into.ToString()

/// Short words for the pages.
[<AutoOpen>]
module internal HtmlWords =
    let el name attributes children = Html.Element(name, attributes, children)
    let text (said: string) = Html.Text said
    let nothing = Html.Many []

    /// Of somebody else's making: it may be written from right to left, and must not turn what stands beside it.
    let foreign (said: string) = el "bdi" [] [ text said ]
