// Package frame has what is streamed and stored: a Frame, the unit of sequence, storage
// and acknowledgement, holds a Batch or a Gap; a Batch holds samples in columns, one Block
// for each kind and poll; a Gap counts what was lost.
//
// Handles, not names, say whose samples they are: the catalog of the core gives them out.
// How a frame is encoded is the business of the process boundary.
package frame
