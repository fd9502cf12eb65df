let orders =
    [ Created
      Active
      Conflict
      Ended
      Expired
      Destroyed
      Refused
      Failed
      Declined
      Changed
      New
      SignedOut
      Limit
      Idle ]

let next order =
    match order with
    | Active -> Ended
    | Created
    | New -> Active
    | other -> other

let ada = { Id = 1; Subject = "ada"; CreatedAt = 2; State = Active; Data = "" }
let older = { ada with CreatedAt = 1; State = next ada.State }
let name customer = customer.Subject + customer.Data
let limits = { IdleTimeout = 1; MaxDataBytes = 2; Doors = 3 }
let settings: SessionSettings = { SessionSettings.defaults with MaxDataBytes = 1000 }

let dev settings =
    { settings with
        RotateEvery = None
        OnReplay = Session.OnReplay.RefuseToken }

let say error =
    match error with
    | SessionError.Conflict -> Conflict
    | SessionError.Ended(Session.Ending.ByTime Session.ExpiryKind.Idle, _) -> Idle
    | SessionError.Ended(Session.Ending.OnPurpose Session.DestroyReason.SignedOut, _) -> SignedOut
    | SessionError.Refused Session.Refusal.Guess -> Refused
    | _ -> Failed
