/// The invariants: sentence, the same in plain words, formula, requirement. Where the evidence is, Evidence.fs finds.
module Docs.Invariants

type Invariant =
    {
        Number: int
        Name: string
        Sentence: string
        /// For a reader who has never heard of sessions.
        Gloss: string
        Formula: string
        Requirement: string
    }

let all =
    let make number name sentence gloss formula requirement =
        { Number = number
          Name = name
          Sentence = sentence
          Gloss = gloss
          Formula = formula
          Requirement = requirement }

    [ make
          1
          "the end absorbs"
          "No command leads from Destroyed or Expired to anything live. What still changes is what they know: the data goes once the hook has heard of the end, the tokens once the client has gone on."
          "A session that has ended stays ended, for the reason and at the time that were first given. What happens to it afterwards is cleaning up."
          "over(before) ⇒ over(after), with the same reason and the same time"
          "ASVS 7.4.1"
      make
          2
          "no deadline past absolute"
          "No deadline lies past sign-in (else creation) + absolute; only a sign-in moves that, always with a new secret."
          "However busy a user is, the session ends a fixed time after the sign-in. Neither activity nor a second factor nor a new token puts that off; signing in again does."
          "deadline(s) ≤ (authenticatedAt(s) else createdAt(s)) + absolute ∧ (authenticatedAt moves ⇒ sign-in ∧ the secret changes)"
          "ASVS 7.3.2; NIST SP 800-63B-4 §2.2.3 (overall timeout)"
      make
          3
          "time and version only grow"
          "Last seen and version never decrease; the version grows by exactly one with each accepted write. Activity is the arrival of a request of the holder, and an elevation; whatever a request does later counts as of its arrival."
          "A session's clock runs forwards only, whichever server answers. A user is active when a request comes in: a download that runs for an hour is not an hour of activity."
          "lastSeen(after) ≥ lastSeen(before) ∧ version(after) − version(before) = (stored ? 1 : 0)"
          "ASVS 15.4.2"
      make
          4
          "one token opens"
          "A session is opened by its one confirmed token, and besides it only by tokens issued to its holder in the renewal under way, or by the predecessor within the grace."
          "At any moment there is one key to the session; while it is exchanged there are two, for a short time."
          "opens(t, s) ⇔ t ∈ {secret(s)} ∪ issued(s) ∪ (now < until(s) ? {predecessor(s)} : ∅)"
          "ASVS 7.2.1, 7.2.2"
      make
          5
          "no fixation"
          "A token known before an elevation opens nothing after it, not for a moment."
          "A token that somebody planted in a browser, or read there, before the user signed in is worthless afterwards; so is a request that it let in."
          "t known before an elevation ⇒ ¬opens(t, s) ever after; a request opened before it changes nothing after it"
          "ASVS 7.2.4; NIST SP 800-63B-4 §5.1"
      make
          6
          "no resurrection"
          "No write is accepted after the end, on any handle, in any order of events."
          "A request that was under way when the user signed out cannot bring the session back by saving late."
          "over(s) ⇒ decide(write | sign in | elevate | renew, s) = refused"
          "ASVS 7.4.1"
      make
          7
          "a refusal changes nothing"
          "A refusal changes nothing, and every event that decide emits is consumed by evolve."
          "If the answer is no, nothing has changed: no data, no deadline, no record."
          "decide(c, s) = refused ⇒ s stays; decide(c, s) = events ⇒ evolve takes each of them"
          "ASVS 2.3.3, 16.5.3"
      make
          8
          "the unattended end"
          "An unattended session is over at its deadline, whatever came before; expiry holds on read, whatever a sweeper or a store's TTL did."
          "A session that is left alone ends at the promised minute, even if nothing ever cleans up."
          "now ≥ deadline(s) ⇒ ∀t: ¬opens(t, s) ∧ every command is refused, or is its end by time (also destroy)"
          "ASVS 7.3.1, 7.3.2; NIST SP 800-63B-4 §2.1.3, 2.2.3, 2.3.3 (inactivity timeout)"
      make
          9
          "no lost update"
          "Accepted concurrent updates are all in the result."
          "If two requests change the session at once, both changes are there afterwards, or one of the two is told that it came too late."
          "accepted write based on revision r ⇒ revision(s) = r; result = fold of all accepted updates"
          "ASVS 15.4.2, 15.4.3"
      make
          10
          "renewal keeps the session"
          "A renewal keeps session id, subject, data and all deadlines, and changes the secret."
          "The exchange of a token is not noticed: the same session, the same user, the same data, the same deadlines."
          "renewal(s, s′) ⇒ subject, data, deadlines, elevations equal ∧ secret(s′) ≠ secret(s)"
          "ASVS 7.2.2"
      make
          11
          "nothing from strangers"
          "An id or secret that the server did not issue opens nothing, changes nothing and never becomes a session."
          "Invented ids and tokens open nothing, and do not become sessions."
          "t never issued ⇒ decide(present t, s) = refused: a guess"
          "ASVS 7.2.1, 7.2.3"
      make
          12
          "subject by sign-in"
          "The subject changes only by a sign-in, and a sign-in always changes the secret."
          "Who the user of a session is changes by signing in only, and the token changes with it."
          "subject(after) ≠ subject(before) ⇒ sign-in ∧ secret(after) ≠ secret(before)"
          "ASVS 7.2.4"
      make
          13
          "grace is the last"
          "A confirmed renewal leaves at most the grace to the old token (twice the grace, where clocks differ). By no command does it, or a request that it let in, get a new token or move a deadline. Use after the grace is reported exactly once, unless the request had arrived before."
          "After an exchange the old token still works for some seconds, for the requests that are on their way; it can look and save, and neither get the new token nor keep the session awake. Used later, it is the sign that somebody has copied it, and that is told once. A request that is merely slow is not suspected."
          "opens(predecessor, s) ⇒ now < confirmation + grace ∧ now ≥ confirmation − grace; replays reported of one token ≤ 1; arrival < end of the grace ⇒ no replay"
          "ASVS 7.2.4"
      make
          14
          "destroy is total"
          "Destroy is defined in every state, idempotent, and no hook can stop it."
          "Signing out always works, also twice, and no code of the application can prevent it."
          "s exists ⇒ decide(destroy, s) accepted ∧ over(after), by time if it was overdue; again: nothing happens"
          "ASVS 7.4.1, 7.4.5"
      make
          15
          "destroy all is all"
          "After “destroy all of a subject” is acknowledged, no session of that subject begun before it is live on any node; with a limit of N, no acknowledged sign-in leaves more than N live."
          "“Sign me out everywhere” means everywhere."
          "acknowledged(destroy all of u at τ) ⇒ ∀ session of u with sign-in acknowledged before τ: over"
          "ASVS 7.1.2, 7.4.2, 7.4.3, 7.5.2"
      make
          16
          "one decoder"
          "An unreadable, foreign or tampered record opens nothing; there is no second decoder."
          "A record that was changed, swapped or damaged in the store is not opened, whatever it says."
          "decode(id, version, encode(id, version, s)) = s; any other bytes, id or version ⇒ unreadable"
          "ASVS 1.5.3, 11.3.3"
      make
          17
          "no crossed answer"
          "A token that is handed out opens the session that is stored, and no other: no answer is about a session that another answer has replaced. One order is beyond any server: an answer that renews is on its way, an elevation is answered after it and reaches the browser before it. The browser is left with the older token, which opens nothing (5), and its user signs in again; the exploration leaves that order out."
          "Nobody is given the token of another session, or one that opens nothing."
          "answer hands out t ⇒ opens(t, stored(id(t)))"
          "ASVS 7.2.1, 15.4.2"
      make
          18
          "outcomes are true"
          "What an operation says has happened: accepted is stored, once; refused is not stored; and what nobody knows is said to be unknown."
          "Yes means yes and no means no, also when the store does not answer."
          "acknowledged(c) ⇒ c is stored exactly once; refused(c) ⇒ c is not stored"
          "ASVS 2.3.3, 16.5.3" ]
