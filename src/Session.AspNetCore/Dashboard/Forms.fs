/// Forms of the library's own pages: each with the framework's antiforgery token, which is bound to session and elevation.
namespace Session.AspNetCore

open System
open System.IO
open System.Threading.Tasks
open Microsoft.AspNetCore.Antiforgery
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Routing
open Microsoft.Extensions.DependencyInjection
open Session.Engine

[<RequireQualifiedAccess>]
module internal Forms =
    /// Where the page is mapped, and not with its first form.
    let require (call: string) (endpoints: IEndpointRouteBuilder) =
        if isNull (endpoints.ServiceProvider.GetService<IAntiforgery>()) then
            invalidOp (
                String.Concat(
                    call,
                    " needs antiforgery, or another site could send its forms: call services.AddAntiforgery()."
                )
            )

    let private hidden name value = el "input" [ "type", "hidden"; "name", name; "value", value ] []

    /// A form of one button. Its session has been read: the token is made from that.
    let button (context: HttpContext) (action: string) (fields: (string * string) list) (button: Html) =
        let tokens = context.RequestServices.GetRequiredService<IAntiforgery>().GetAndStoreTokens context

        let token =
            match tokens.RequestToken with
            | null -> nothing
            | token -> hidden tokens.FormFieldName token

        el
            "form"
            [ "method", "post"; "action", action ]
            (token :: [ for name, value in fields -> hidden name value ] @ [ button ])

    let private outOfDate (context: HttpContext) =
        Page.write
            context
            400
            "This form is out of date"
            nothing
            [ el "p" [] [ text "Nothing was changed. Go back, load the page again, and try once more." ] ]

    /// The fields, of a form that this site's own page has sent; else it has been answered.
    let accept<'T> (context: HttpContext) : Task<IFormCollection option> =
        task {
            let service = SessionServiceOf.services<'T> context.RequestServices

            if CrossSite.forbids service.Settings service.Transport context then
                raise (SessionFailure.toException SessionError.CrossSite)

            let antiforgery = context.RequestServices.GetRequiredService<IAntiforgery>()

            let! form =
                task {
                    try
                        let! isValid = antiforgery.IsRequestValidAsync context

                        if isValid && context.Request.HasFormContentType then
                            let! form = context.Request.ReadFormAsync context.RequestAborted
                            return Some form
                        else
                            return None
                    with
                    // No form at all, larger than one may be, or in an encoding that nobody reads any more (charset=utf-7): the
                    // client's mistake. Where antiforgery read it, it says so in an exception of its own.
                    | :? AntiforgeryValidationException
                    | :? InvalidDataException
                    | :? NotSupportedException
                    | :? BadHttpRequestException -> return None
                }

            if form.IsNone then
                do! outOfDate context

            return form
        }
