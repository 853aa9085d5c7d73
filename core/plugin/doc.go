// Package plugin is the author's side of the process boundary: Serve is the whole main of a
// driver.
//
//	func main() { plugin.Serve(modbus.New()) }
//
// It runs the engine around the driver and serves it to the core over gRPC. The nouns:
//
//   - The server answers the calls of the control plane, one unary method each.
//   - A session is one core on the data plane: the stream on which the process sends its
//     frames, events and heartbeats, and the core its acknowledgements. One core is attached
//     at a time; the one with the higher epoch evicts the other.
//   - Questions are what a driver asks of the core (its store, its secrets), on a stream of
//     their own, so that a question never waits behind telemetry.
//
// What is on the wire is the business of core/internal/wire, the core's side that of
// core/internal/host. The package compiles wherever authors work; the core itself runs on
// Linux only.
//
// On the hot path nothing is encoded twice: a session sends the bytes that the engine's ring
// keeps. What is on the wire is plain protobuf all the same.
package plugin
