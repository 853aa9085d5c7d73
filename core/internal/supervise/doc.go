// Package supervise keeps the processes of every driver running, gives them the
// state that the configuration wants, and brings what they send to the spool.
//
// The nouns:
//
//   - A pool is all processes of one driver. It has as many shards as the driver has
//     instances, and as many spares as it has standbys.
//   - A member is a place for one process in a pool. It is in one state of the
//     machine below. Its process may die and be followed by another: each is one
//     life of the member.
//   - A shard is a share of the driver's links: those for which a stable hash of
//     their names says so. A shard has one member, its primary.
//   - A link has at most one holder: the life in which it is open, or may be.
//
// Everything that moves links is one rule, linkTable.moves: a link goes to the
// primary of its shard. Where its holder is another life, that drains it, the
// frames that it flushed are taken in, and the primary activates it with the
// hand-off; where the holder died, the primary activates it as soon as nothing is
// left of the dead. A restart, a takeover by a standby, an upgrade, its way back and
// a new number of instances differ only in which member is made the primary.
//
// Every process of a pool has the whole state of its driver; the links that it does
// not hold are held closed in it. So a link moves without a new configuration, and
// a new configuration is given to all processes at any time, also during an
// upgrade.
//
// The machine, of which state.go has the table:
//
//	           +-------------------------------- backing off <--+
//	           v                                     ^  |       |
//	        verified --> starting --> standby --> active        |
//	           ^            |          ^  |         |  ^        |
//	           |            |          |  v         v  |        |
//	      quarantined <-----+----------+- draining <---+ -------+
//
//	every state --> stopped, from where nothing leads on
//
// A life ends by exit, by signal, or by hanging: its heartbeats stop, or its
// engine's progress does. The first restart of a member that was healthy is made at once,
// those that follow after 100 ms to 60 s, and a healthy minute forgives them all. Five
// deaths in five minutes put a member in quarantine, from which it is tried again after two
// minutes, then after twice as long each time, up to an hour; Enable, a changed
// state or a changed image lifts. A spare that is warm takes the place of a
// primary that died, with its record of deaths.
//
// A pool is its parts, and what is done with them after every change (reconcile):
//
//	monitor     the pool's lock, which guards all of the pool but what is below; who waits for a change
//	demand      what is wanted, and why nothing is to run where it is not
//	images      what processes are launched from
//	roster      the members, the shards and their primaries
//	linkTable   who has which link, who is to have it, and what it was last told to be in
//	lossBook    what was lost with the dead, until a process is given it to tell of
//	tracker     the trouble of links and devices that has its lines in the log
//	journal     the latest transitions
//	upgrade     the one in hand
//
// A member has the policy of its restarts (trouble) and its present life. A life has the
// state that it was given (delivery), its telemetry stream (stream) and the record by which
// the next core finds it (lifeRecord), which the pool's lock guards too, and its intake.
//
// An intake takes what one process sends, in the goroutine of its stream, without the pool's
// lock: it has the signs of life (vitals, atomic), the sequences and acks (ledger), the checks
// (gate), what the next frame is to tell of (unreported) and the counters (counted), each
// with a lock of its own, and gives frames to the inlet, which the processes of the driver
// share. What it asks of the pool are the four methods of owner, which take the pool's lock for a
// moment. So the pool's lock is taken before those of an intake, and never while one of them is
// held.
//
// What takes time (a launch, a call, a stop) runs in a goroutine, one for each member at most,
// takes no part of the lock, and changes the pool when it has ended. So no process can hold up
// another one.
//
// With Desired.Detach the processes outlive the core. Each has a record in the run
// directory, and the next core adopts it: the process has gone on with the links that
// it held, and nothing was lost.
package supervise
