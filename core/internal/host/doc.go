// Package host is the core's side of the process boundary: Launch starts a driver and
// returns a Process, which the core uses as if the engine were its own.
//
// The nouns:
//
//   - A Process is one running driver, as the core sees it. It implements control.Plane:
//     every method is a unary call with a deadline.
//   - An Attachment is the data plane: the stream on which the process sends its frames,
//     events and heartbeats, and the core its acknowledgements.
//   - Services are what a driver asks of the core.
//   - Reattach takes a wire.Record and returns the Process that outlived the core which
//     started it, once that has proven to be the one of the record.
//   - A Trial is a driver in the foreground, for its author.
//   - Leftovers are the processes and directories of an earlier core.
//
// Starting, the handshake and the negotiation of a version are go-plugin's, so a driver in
// any language that go-plugin can start works here. Everything that happens to a running
// process is this package's own: see runner for why.
//
// A test binary cannot be the driver's side without the author's package, so most tests of
// this package are those of core/plugin, which run both sides.
package host
