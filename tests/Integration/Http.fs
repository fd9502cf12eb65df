/// Requests with explicit cookies, and what came back, byte by byte.
module Integration.Http

open System
open System.Net.Http
open System.Threading.Tasks

type Answer =
    { Status: int
      Body: string
      SetCookies: string list
      Headers: Map<string, string> }

    member answer.Header(name: string) = answer.Headers |> Map.tryFind (name.ToLowerInvariant())

/// One Set-Cookie line: value, and attributes by lower-case name.
type SetCookie = { Name: string; Value: string; Attributes: Map<string, string> }

let parseSetCookie (line: string) =
    let pair (text: string) =
        match text.IndexOf '=' with
        | -1 -> text.Trim().ToLowerInvariant(), ""
        | at -> text.Substring(0, at).Trim(), text.Substring(at + 1).Trim()

    let parts = line.Split ';'
    let name, value = pair parts[0]

    { Name = name
      Value = value
      Attributes =
        Map.ofSeq (
            parts
            |> Seq.skip 1
            |> Seq.map (fun part ->
                let name, value = pair part
                name.ToLowerInvariant(), value)
        ) }

let newClient () =
    new HttpClient(
        new SocketsHttpHandler(UseCookies = false, AllowAutoRedirect = false),
        Timeout = TimeSpan.FromSeconds 30L
    )

let send (client: HttpClient) (address: Uri) (verb: string) (path: string) (headers: (string * string) list) =
    task {
        use request = new HttpRequestMessage(HttpMethod verb, Uri(address, path))

        for name, value in headers do
            request.Headers.TryAddWithoutValidation(name, value) |> ignore

        use! response = client.SendAsync request
        let! body = response.Content.ReadAsStringAsync()
        // As they came: the parsed headers put Cache-Control into an order of their own.
        let all =
            [ for header in response.Headers.NonValidated do
                  header.Key, List.ofSeq header.Value
              for header in response.Content.Headers.NonValidated do
                  header.Key, List.ofSeq header.Value ]

        return
            { Status = int response.StatusCode
              Body = body
              SetCookies =
                [ for name, values in all do
                      if name.Equals("Set-Cookie", StringComparison.OrdinalIgnoreCase) then
                          yield! values ]
              Headers = Map.ofList [ for name, values in all -> name.ToLowerInvariant(), String.Join(", ", values) ] }
    }

/// The token that the answer hands over; fails without exactly one.
let token (answer: Answer) =
    match answer.SetCookies with
    | [ line ] -> (parseSetCookie line).Value
    | lines -> failwithf "expected one Set-Cookie with status 200, got %d and %A (%s)" answer.Status lines answer.Body

let idOf (token: string) = token.Substring(0, token.LastIndexOf '.')

let all (requests: seq<Task<'a>>) : Task<'a array> = Task.WhenAll requests
