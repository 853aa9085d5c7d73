// Package config reads a gateway's configuration: the file fieldloom.yaml and
// the files links/*.yaml of one directory.
//
// The nouns:
//
//   - A Config is what the files say, complete: every default is filled in,
//     every template merged, every range counted out.
//   - A section is a top-level key of fieldloom.yaml: gateway, spool, links.
//   - A template is a set of keys that links or devices take over.
//   - A range is a name such as m[1..1000] that stands for many; a placeholder
//     such as {n+1} in a text is replaced by the number in the range.
//   - A place is a file, a line and a column. Every value keeps the place where
//     it was written, so an error found later, by a driver's JSON Schema or by
//     the driver itself, points at the line to change.
//
// Nothing is guessed and nothing is skipped: an unknown key, a wrong type, a
// duplicate name is an error, and all errors are reported at once, each with its
// place, its path and what to do about it. The keys are described in
// docs/config.md.
//
// The way of a file: read.go has its text, yaml.go makes a tree of nodes with their places,
// section.go reads the sections of fieldloom.yaml, link.go, device.go and point.go make the
// links of the rest, and build.go joins them. Each of these reports what is wrong through one
// faults (error.go), which gives an error its file, line and column. Check (check.go) then
// lays the settings beside the drivers' JSON Schemas, and Locate finds the place of what a
// driver says itself. What a new section needs says section.go.
//
// What comes out is made to be kept: devices with the same points share one
// control.Table, and of the files only the places stay in memory.
package config
