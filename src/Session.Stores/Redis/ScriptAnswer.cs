namespace Session.Stores.Redis;

/// <summary>What <see cref="Scripts.Replace"/> did, by the numbers it answers with. None of them says that the answer never came.</summary>
internal enum ScriptAnswer
{
    Written = 0,

    /// <summary>Nothing was written: the record has another version.</summary>
    Conflict = 1,

    /// <summary>Nothing was written: there is no record.</summary>
    Absent = 2,

    /// <summary>Nothing was written: the entries of the indexes have to be changed before the record.</summary>
    NeedsIndexes = 3,

    /// <summary>Nothing was written: a subject would lose the session, and no sweep knows of that yet.</summary>
    LosesSubject = 4,
}
