/// The sixteen invariants: sentence, formula, requirement. Where the evidence is, Evidence.fs finds.
module Docs.Invariants

type Invariant =
    { Number: int
      Name: string
      Sentence: string
      Formula: string
      Requirement: string }

let all =
    let make number name sentence formula requirement =
        { Number = number
          Name = name
          Sentence = sentence
          Formula = formula
          Requirement = requirement }

    [ make
          1
          "the end absorbs"
          "No command leads from Destroyed or Expired to anything live."
          "over(before) ⇒ over(after), with the same reason and the same time"
          "ASVS 7.4.1"
      make
          2
          "no deadline past absolute"
          "No deadline lies past sign-in (else creation) + absolute; only a sign-in moves that, always with a new secret."
          "deadline(s) ≤ (authenticatedAt(s) else createdAt(s)) + absolute ∧ (authenticatedAt moves ⇒ sign-in ∧ the secret changes)"
          "ASVS 7.3.2; NIST SP 800-63B-4 §2.2.3 (overall timeout)"
      make
          3
          "time and version only grow"
          "Last seen and version never decrease; the version grows by exactly one with each accepted write."
          "lastSeen(after) ≥ lastSeen(before) ∧ version(after) − version(before) = (stored ? 1 : 0)"
          "ASVS 15.4.2"
      make
          4
          "one token opens"
          "A session is opened by its one confirmed token, and besides it only by tokens issued to its holder in the renewal under way, or by the predecessor within the grace."
          "opens(t, s) ⇔ t ∈ {secret(s)} ∪ issued(s) ∪ (now < until(s) ? {predecessor(s)} : ∅)"
          "ASVS 7.2.1, 7.2.2"
      make
          5
          "no fixation"
          "A token known before an elevation opens nothing after it, not for a moment."
          "t known before an elevation ⇒ ¬opens(t, s) ever after; a request opened before it changes nothing after it"
          "ASVS 7.2.4; NIST SP 800-63B-4 §5.1"
      make
          6
          "no resurrection"
          "No write is accepted after the end, on any handle, in any order of events."
          "over(s) ⇒ decide(write | sign in | elevate | renew, s) = refused"
          "ASVS 7.4.1"
      make
          7
          "a refusal changes nothing"
          "A refusal changes nothing, and every event that decide emits is consumed by evolve."
          "decide(c, s) = refused ⇒ s stays; decide(c, s) = events ⇒ evolve takes each of them"
          "ASVS 2.3.3, 16.5.3"
      make
          8
          "the unattended end"
          "An unattended session is over at its deadline, whatever came before; expiry holds on read, whatever a sweeper or a store's TTL did."
          "now ≥ deadline(s) ⇒ ∀t: ¬opens(t, s) ∧ every command but destroy is refused or expires it"
          "ASVS 7.3.1, 7.3.2; NIST SP 800-63B-4 §2.1.3, 2.2.3, 2.3.3 (inactivity timeout)"
      make
          9
          "no lost update"
          "Accepted concurrent updates are all in the result."
          "accepted write based on revision r ⇒ revision(s) = r; result = fold of all accepted updates"
          "ASVS 15.4.2, 15.4.3"
      make
          10
          "renewal keeps the session"
          "A renewal keeps session id, subject, data and all deadlines, and changes the secret."
          "renewal(s, s′) ⇒ subject, data, deadlines, elevations equal ∧ secret(s′) ≠ secret(s)"
          "ASVS 7.2.2"
      make
          11
          "nothing from strangers"
          "An id or secret that the server did not issue opens nothing, changes nothing and never becomes a session."
          "t never issued ⇒ decide(present t, s) = refused: a guess"
          "ASVS 7.2.1, 7.2.3"
      make
          12
          "subject by sign-in"
          "The subject changes only by a sign-in, and a sign-in always changes the secret."
          "subject(after) ≠ subject(before) ⇒ sign-in ∧ secret(after) ≠ secret(before)"
          "ASVS 7.2.4"
      make
          13
          "grace is the last"
          "A confirmed renewal leaves at most the grace to the old token, and never gives it a new one; use after it is reported exactly once."
          "opens(predecessor, s) ⇒ now < confirmation + grace; replays reported of one token ≤ 1"
          "ASVS 7.2.4"
      make
          14
          "destroy is total"
          "Destroy is defined in every state, idempotent, and no hook can stop it."
          "s exists ⇒ decide(destroy, s) accepted ∧ over(after); again: nothing happens"
          "ASVS 7.4.1, 7.4.5"
      make
          15
          "destroy all is all"
          "After “destroy all of a subject” is acknowledged, no session of that subject begun before it is live on any node; with a limit of N, no acknowledged sign-in leaves more than N live."
          "acknowledged(destroy all of u at τ) ⇒ ∀ session of u with sign-in acknowledged before τ: over"
          "ASVS 7.1.2, 7.4.2, 7.4.3, 7.5.2"
      make
          16
          "one decoder"
          "An unreadable, foreign or tampered record opens nothing; there is no second decoder."
          "decode(id, version, encode(id, version, s)) = s; any other bytes, id or version ⇒ unreadable"
          "ASVS 1.5.3, 11.3.3" ]
