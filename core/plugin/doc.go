// Package plugin is the boundary between the core and a driver process, both
// sides of it: Serve is the whole main of a driver, Launch starts one and returns
// a Process, which the core uses as if the engine were its own.
//
// The nouns:
//
//   - A Process is one running driver, as the core sees it. It implements
//     engine.Control: every method is a unary call with a deadline.
//   - An Attachment is the data plane: the stream on which the process sends its
//     frames, events and heartbeats, and the core its acks. One core is attached to
//     a process at a time; the one with the higher epoch evicts the other.
//   - Services are what a driver asks of the core, on a stream of their own, so
//     that a question never waits behind telemetry.
//   - A Record is what a later core needs to Reattach to a process that outlived
//     the one that started it, and that the process proves to be true.
//   - A Trial is a driver in the foreground, for its author.
//   - An Identity is what a core needs to prove to a driver process that it is
//     the one that started it.
//
// Starting, the handshake and the negotiation of a version are go-plugin's, so a
// driver in any language that go-plugin can start works here. Everything that
// happens to a running process is this package's own: see runner for why.
//
// On the hot path nothing is encoded twice: the driver side sends the bytes that
// the engine's ring keeps, the core side hands them on undecoded. What is on the
// wire is plain protobuf all the same.
package plugin
