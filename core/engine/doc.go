// Package engine is what runs around a driver inside the driver's own process:
// the scheduler of each link, the batcher, and the replay ring. It imports the
// contract only and knows no wire.
//
// One sample flows one way: a link's scheduler reads a device at its slot, the
// batcher gathers the answers of all links into columns, the ring numbers the
// frame and keeps it until the core acknowledges that it is stored. One command
// flows one way too: Engine.Read or Engine.Write queues it at the link's
// scheduler, which runs it before the next poll, and answers the caller.
package engine
