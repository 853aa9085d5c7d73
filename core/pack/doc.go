// Package pack is the format of a driver package: how it is signed, checked and
// carried.
//
// The nouns:
//
//   - A package is a directory with one or more executables, a manifest
//     (manifest.json) and a signature of the manifest (manifest.json.minisig). It
//     travels as an archive, a tar.gz of that directory.
//   - The manifest names every other file with its SHA-256, and says what the driver
//     wants to reach. So one signature covers every byte.
//   - A scheme is that of the URLs by which a driver's links name what it reaches. The
//     manifest says of each on which way and at which port that is; an Endpoint is what
//     one text of a link's settings names by that.
//   - A key pair is minisign's: Debian's minisign verifies what Sign made, and Open
//     takes what minisign signed.
//   - The trust file lists the public keys that an operator trusts, each with the
//     names of the drivers that it may sign.
//   - The serial grows with every signing. Who remembers the highest that it took
//     cannot be given an old package as a new one; this package only tells it.
//
// Open checks a whole package and hands out its executable as a sealed file in
// memory: the very bytes that were hashed, which nobody can change any more. docs/package.md
// describes the format for authors and operators.
package pack

import "runtime"

// The two files of a package that its manifest does not list.
const (
	ManifestName  = "manifest.json"
	SignatureName = "manifest.json.minisig"
)

// ArchiveSuffix ends the names of archives.
const ArchiveSuffix = ".tar.gz"

// KindDriver is the only kind of package there is.
const KindDriver = "driver"

// The limits of what is read from a package before and after it is trusted.
const (
	maxManifest  = 1 << 20 // bytes; three schemas fit many times
	maxSignature = 4 << 10
	maxTrust     = 64 << 10
	maxKey       = 4 << 10
	maxFile      = 512 << 20 // of one file: a driver linked with its libraries is a tenth of it
	maxTotal     = 1 << 30   // of all files of a package
	maxFiles     = 1000
	maxDepth     = 8 // of directories, and of what the manifest nests outside its schemas
	maxPath      = 200
	maxEndpoints = 100
)

// Platform is the platform of this process, as a manifest names it.
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }
