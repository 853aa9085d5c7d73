// Package engine is what runs around a driver inside the driver's own process:
// the scheduler of each link and the batcher; the replay ring behind them is package
// replay. It imports the contract and its vocabulary and knows no wire.
//
// One sample flows one way: a link's scheduler reads a device at its slot, the
// batcher gathers the answers of all links into columns, the ring numbers the
// frame and keeps it until the core acknowledges that it is stored. One command
// flows one way too: Engine.Read or Engine.Write queues it at the link's
// scheduler, which runs it before the next poll, and answers the caller.
//
// # Who owns what
//
// An Engine has one link for each of the configuration, an outlet and a batcher for all of
// them, and a watchdog. A link joins pieces that do not know each other, calls them and does
// what they answer. One lock, the link's, guards them all; it is never held during a driver
// call.
//
//	crew        the goroutines that make the driver calls, and how they wait for work
//	connection  whether the link is open: the session, what opens and closes it next, backoff
//	custody     who has the link: held, handed over, the shift of its grids, what the driver keeps
//	roster      the devices and what befalls them; it has
//	  agenda      what waits: requests, preparations, due polls, suspects, probes; its choice
//	              of the next is a pure function
//	  conditions  of the link and its devices, and the events of their changes
//
// Each device has its health, a value with the times that follow from its failures, and its
// values, which the deadbands compare with. A turn of a runner is pick, begin, the driver
// call without the lock, and finish (turn.go). A subscription and a checkup are goroutines
// besides, clients of the link that take its lock as the engine does.
//
// Locks are taken in this order: Engine.applying, link.mu, batcher.mu, batcher.flushing,
// then the ring's. OnEvent is called under link.mu, stored callbacks under none.
//
// # The schedule
//
// Each scan class of each device has its due times on a grid: every period, at a
// phase that is a hash of the three names and a whole number of slots. A slot is a
// twentieth of the period, at least 1 ms and at most 50 ms. The grid goes by the
// monotonic clock, so neither a late poll nor a step of the wall clock moves the
// next one. A due time that comes while the poll before still runs or waits is
// counted as an overrun and left out. A device with a long period is polled
// within a second of being ready, and then on its grid.
//
// On a link, writes go before on-demand reads, reads before polls, and polls
// before probes. A call gets the link's time-out as its context's deadline, and a
// Read of several points one more for every eight begun, since it may take several
// requests; the driver applies the time-out to each. A call that does
// not return two seconds after its deadline is abandoned: the link is closed and
// opened again, and its goroutine ends when the driver lets it.
//
// # Faults
//
// A device whose third answer in a row does not come (Timeout, Protocol) is demoted: it leaves
// the scan, all its points become Bad, and one of its points is polled from time to time, first
// after a second, then after twice as long up to the longer of 10 s and its period. Before
// that, it waits until no neighbour is due, so each of its time-outs delays a neighbour at most
// once. A probe gets only the time until the next poll of a neighbour is due, so it moves none;
// it waits for a slack of a whole time-out at first, and for each second in vain half of that
// is enough, down to 10 ms. On a link that pipelines, it runs beside the polls. When every
// device of a link is demoted and has failed since the link was opened, the link is opened
// again.
//
// One whose every failure came after another device's, with no answer from any
// between, is demoted at the sixth: it may be well, behind a gateway that is busy with
// that one.
//
// A link is opened again after 100 ms, doubled with every failure up to 60 s, of which a random
// half is taken off; an answer resets it. A read or write in between opens it at once, at most
// once a second, and reports what came of it. While a link or device stays away, its points are
// sent as Bad once a minute.
//
// # Changing hands
//
// Drain ends the polls in flight of some links or all (after two seconds they are cut
// short), asks the driver what it wants to keep, closes the links, flushes, and answers a
// hand-off; Activate goes on from there, in this process or another. A due time
// that passed meanwhile is polled at once, once, and counts as that one; those passed
// besides are overruns. A poll that was cut short is made by whoever has the link
// next; one whose answer was taken is not made again. Deadbands compare with what the other
// process sent, demoted devices stay so, and the grid of the link stays where it was,
// whatever the grids of the two processes are: a link carries its shift. After more than
// 30 s, or without a hand-off from whoever had the link, the deadbands send again.
// Where that process has died and Activate comes within a second, each scan class whose
// due time has passed since is polled at once, too.
//
// What the operator took off line is closed, and its points are sent as Bad once, by whichever
// process has the link.
//
// # What waits
//
// A batch is closed at 1,000 samples, 16 KiB, after 20 ms, or when no poll is in flight and it
// is 5 ms old. When the ring is full, the class's policy decides: see DropOldest, Slow and
// Latest. What a Subscriber pushes waits for room whatever its policy is, except Latest,
// because its sender can hold it. With Options.Spill, the oldest frames move to disk before the
// ring is full, and the policy decides when that is full too. Everything lost, also what a
// driver says that it has lost itself (driver.Env.Lost), is reported in a Gap, and after one
// the deadbands send every point again.
package engine
