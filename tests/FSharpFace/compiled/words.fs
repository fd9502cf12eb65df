namespace Orders.Shop

/// Words that any application may have.
type Order =
    | Created
    | Active
    | Conflict
    | Ended
    | Expired
    | Destroyed
    | Refused
    | Failed
    | Declined
    | Changed
    | New
    | SignedOut
    | Limit
    | Idle

type Customer =
    { Id: int
      Subject: string
      CreatedAt: int
      State: Order
      Data: string }

type Limits = { IdleTimeout: int; MaxDataBytes: int; Doors: int }
