// Package catalog maps handles, the small integers on the wire and in the spool, to links,
// devices and points, and keeps the map for ever.
//
// A block is a run of contiguous handles, one for each point of a device. It is given to a
// device together with the names of its points: as long as those names stay as they are, the
// device keeps its block across restarts and changes of configuration; when they change it gets
// a new one, and when they change back the old one. No handle is ever given to another point,
// so what was stored years ago can be named still.
//
// A table is the names of a block's points. It is stored once under the hash of its content,
// and kept in memory once, whatever number of devices share it. Units are only for display: a
// block refers to those of the newest configuration.
package catalog
