// Package config reads a gateway's configuration: the file fieldloom.yaml and
// the files links/*.yaml of one directory.
//
// The nouns:
//
//   - A Config is what the files say, complete: every default is filled in,
//     every template merged, every range counted out.
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
// What comes out is made to be kept: devices with the same points share one
// engine.Table, and of the files only the places stay in memory.
package config
