/// People at a real browser: Chromium without a window, spoken to over its DevTools protocol. Each person has cookies of
/// their own, as in a private window.
module Integration.Chromium

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net.WebSockets
open System.Text
open System.Text.Json
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open Expecto

let private patience = TimeSpan.FromSeconds 30L

/// Commands over one socket; each answer finds its command by number.
[<Sealed>]
type Wire(socket: ClientWebSocket) =
    let waiting = ConcurrentDictionary<int, TaskCompletionSource<JsonNode>>()
    let gate = new SemaphoreSlim 1
    let mutable count = 0

    let hear (buffer: byte array) =
        task {
            use message = new MemoryStream()
            let mutable isWhole = false

            while not isWhole do
                let! part = socket.ReceiveAsync(ArraySegment buffer, CancellationToken.None)

                if part.MessageType = WebSocketMessageType.Close then
                    failwith "Chromium hung up"

                message.Write(buffer, 0, part.Count)
                isWhole <- part.EndOfMessage

            let said = nonNull (JsonNode.Parse(Encoding.UTF8.GetString(message.ToArray())))

            match said["id"] with
            | null -> () // an event
            | id ->
                match waiting.TryRemove(id.GetValue<int>()) with
                | true, answer -> answer.TrySetResult said |> ignore
                | false, _ -> ()
        }

    let listening: Task<unit> =
        task {
            let buffer = Array.zeroCreate<byte> 65536

            while true do
                do! hear buffer
        }

    member _.Ask(verb: string, parameters: (string * JsonNode) list, session: string) =
        task {
            let number = Interlocked.Increment &count
            let answer = TaskCompletionSource<JsonNode> TaskCreationOptions.RunContinuationsAsynchronously
            waiting[number] <- answer
            let command = JsonObject()
            command["id"] <- JsonValue.Create number
            command["method"] <- JsonValue.Create verb
            let given = JsonObject()

            for name, value in parameters do
                given[name] <- value

            command["params"] <- given

            if session <> "" then
                command["sessionId"] <- JsonValue.Create session

            let bytes = Encoding.UTF8.GetBytes(command.ToJsonString())
            do! gate.WaitAsync()

            try
                do! socket.SendAsync(ArraySegment bytes, WebSocketMessageType.Text, true, CancellationToken.None)
            finally
                gate.Release() |> ignore

            let! first = Task.WhenAny(answer.Task, listening).WaitAsync patience

            if obj.ReferenceEquals(first, listening) then
                do! listening

            return! answer.Task
        }

let private text (value: string) : JsonNode = nonNull (JsonValue.Create value) :> JsonNode

let private result (said: JsonNode) (name: string) =
    match said["result"] with
    | null -> failwithf "Chromium: %s" (said.ToJsonString())
    | found -> (nonNull found[name]).GetValue<string>()

/// Somebody with a window and cookies of their own.
[<Sealed>]
type Person private (wire: Wire, context: string, session: string) =
    static member Open(wire: Wire) =
        task {
            let! context = wire.Ask("Target.createBrowserContext", [], "")
            return! Person.Open(wire, result context "browserContextId")
        }

    static member private Open(wire: Wire, context: string) =
        task {
            let! target =
                wire.Ask("Target.createTarget", [ "url", text "about:blank"; "browserContextId", text context ], "")

            let flat: JsonNode = JsonValue.Create true

            let! attached =
                wire.Ask("Target.attachToTarget", [ "targetId", text (result target "targetId"); "flatten", flat ], "")

            return Person(wire, context, result attached "sessionId")
        }

    /// Another tab of theirs: with the same cookies.
    member _.OpensTab() = Person.Open(wire, context)

    /// What an expression is in the page that is there now; none while the page goes.
    member private _.TryAsk(expression: string) =
        task {
            let byValue: JsonNode = JsonValue.Create true

            let! said =
                wire.Ask("Runtime.evaluate", [ "expression", text expression; "returnByValue", byValue ], session)

            return
                match said["result"] with
                | null -> None
                | result ->
                    match result["exceptionDetails"], result["result"] with
                    | null, value when not (isNull value) -> Some((nonNull value)["value"])
                    | thrown, _ when not (isNull thrown) ->
                        failwithf "the page throws: %s" ((nonNull thrown).ToJsonString())
                    | _ -> None
        }

    member private person.Until(condition: string, what: string) =
        task {
            let clock = Stopwatch.StartNew()
            let mutable isSo = false

            while not isSo do
                match! person.TryAsk condition with
                | Some value when not (isNull value) && (nonNull value).ToJsonString() = "true" -> isSo <- true
                | _ ->
                    if clock.Elapsed > patience then
                        failtestf "the browser waits in vain: %s" what

                    do! Task.Delay 20
        }

    /// A command of the DevTools protocol, with its parameters as JSON.
    member _.Told(verb: string, parameters: string) =
        let given = (nonNull (JsonNode.Parse parameters)).AsObject()
        wire.Ask(verb, [ for it in given -> it.Key, (nonNull it.Value).DeepClone() ], session)

    /// The text that an expression of JavaScript promises.
    member _.Awaits(expression: string) =
        task {
            let isSo () : JsonNode = JsonValue.Create true

            let! said =
                wire.Ask(
                    "Runtime.evaluate",
                    [ "expression", text expression
                      "returnByValue", isSo ()
                      "awaitPromise", isSo () ],
                    session
                )

            match said["result"] with
            | null -> return failtestf "the page does not answer: %s" (said.ToJsonString())
            | answer ->
                match answer["result"] with
                | null -> return failtestf "the page does not answer: %s" (said.ToJsonString())
                | value ->
                    match value["value"] with
                    | null -> return failtestf "the page does not answer: %s" (said.ToJsonString())
                    | value -> return value.GetValue<string>()
        }

    /// A text of the page, by an expression of JavaScript.
    member person.Read(expression: string) =
        task {
            match! person.TryAsk $"String({expression})" with
            | Some value when not (isNull value) -> return (nonNull value).GetValue<string>()
            | _ -> return failtestf "the page does not answer: %s" expression
        }

    /// Waits until the page says so.
    member person.Sees(condition: string) = person.Until($"Boolean({condition})", condition)

    /// Does something that leads to another page, and waits for that.
    member private person.Leaving(doing: unit -> Task<unit>, what: string) =
        task {
            let! _ = person.TryAsk "window.isLeaving = true"
            do! doing ()
            do! person.Until("!window.isLeaving && document.readyState === 'complete'", what)
            return! person.Read "location.pathname"
        }

    /// Goes to an address, and says the path of the page that came.
    member person.Goes(address: Uri) =
        person.Leaving(
            (fun () ->
                task {
                    let! _ = wire.Ask("Page.navigate", [ "url", text (address.ToString()) ], session)
                    ()
                }),
            address.ToString()
        )

    /// Types into fields, by their names, presses the button of the form that this selector finds, and says the path of the page that came.
    member person.Sends(form: string, fields: (string * string) list) =
        let quoted (value: string) = JsonSerializer.Serialize value

        let typing =
            String.Join(' ', [ for name, value in fields -> $"form.elements[{quoted name}].value = {quoted value};" ])

        person.Leaving(
            (fun () ->
                task {
                    let! _ =
                        person.TryAsk
                            $$"""(() => { const form = document.querySelector({{quoted form}}); {{typing}} form.querySelector('button').click(); })()"""

                    ()
                }),
            $"{form} is sent"
        )

/// What people have besides: a phone, a dark room, a keyboard, no script.
type Person with
    member person.ShowsAs(width: int, height: int, isDark: bool) =
        task {
            let! _ =
                person.Told(
                    "Emulation.setDeviceMetricsOverride",
                    $$"""{"width":{{width}},"height":{{height}},"deviceScaleFactor":1,"mobile":false}"""
                )

            let scheme = if isDark then "dark" else "light"

            let! _ =
                person.Told(
                    "Emulation.setEmulatedMedia",
                    $$"""{"features":[{"name":"prefers-color-scheme","value":"{{scheme}}"}]}"""
                )

            ()
        }

    member person.RunsScripts(isSo: bool) =
        task {
            let isOff = if isSo then "false" else "true"
            let! _ = person.Told("Emulation.setScriptExecutionDisabled", $$"""{"value":{{isOff}} }""")
            ()
        }

    /// A key that is pressed and let go, by its name and number: Tab is 9, Enter is 13.
    member person.Presses(key: string, number: int) =
        task {
            let! _ = person.Told("Emulation.setFocusEmulationEnabled", """{"enabled":true}""")
            let typed = if number = 13 then ""","text":"\r" """ else ""
            let pressed = $$""""key":"{{key}}","code":"{{key}}","windowsVirtualKeyCode":{{number}}"""
            let! _ = person.Told("Input.dispatchKeyEvent", $$"""{"type":"keyDown",{{pressed}}{{typed}} }""")
            let! _ = person.Told("Input.dispatchKeyEvent", $$"""{"type":"keyUp",{{pressed}} }""")
            ()
        }

    /// What is seen of the page now, as PNG.
    member person.Picture() =
        task {
            let! said = person.Told("Page.captureScreenshot", """{"format":"png"}""")
            return Convert.FromBase64String(result said "data")
        }

/// One Chromium, until `body` is done; stopped by its own id.
let browsing (body: (unit -> Task<Person>) -> Task<unit>) =
    task {
        let profile = Directory.CreateTempSubdirectory("session-chromium-").FullName

        use browser =
            RedisServer.launch
                "chromium"
                [ "--headless=new"
                  "--no-sandbox"
                  "--disable-gpu"
                  "--disable-dev-shm-usage"
                  "--no-first-run"
                  "--remote-debugging-port=0"
                  "--user-data-dir=" + profile
                  "about:blank" ]

        try
            let said = Path.Combine(profile, "DevToolsActivePort")
            let clock = Stopwatch.StartNew()
            let mutable place: (string * string) option = None

            while place.IsNone do
                match (if File.Exists said then File.ReadAllLines said else [||]) with
                | [| port; path |] -> place <- Some(port, path)
                | _ ->
                    if browser.HasExited || clock.Elapsed > patience then
                        failtest "Chromium does not start"

                    do! Task.Delay 50

            use socket = new ClientWebSocket()

            match place with
            | Some(port, path) -> do! socket.ConnectAsync(Uri $"ws://127.0.0.1:{port}{path}", CancellationToken.None)
            | None -> ()

            let wire = Wire socket
            do! body (fun () -> Person.Open wire)
        finally
            browser.Kill true
            browser.WaitForExit()

            try
                Directory.Delete(profile, true)
            with :? IOException ->
                ()
    }
