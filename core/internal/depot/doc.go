// Package depot owns the drivers directory: it finds packages, verifies each once,
// remembers which were taken, and hands out images.
//
// The nouns:
//
//   - A package lies in the directory as NAME-VERSION/ or NAME-VERSION.tar.gz, or as a
//     bare executable driver-NAME, which is the unsigned version "dev". It commits by
//     a rename into place; a name that begins with a dot is never looked at.
//   - An image is the executable of an accepted package: verified once, sealed, and the
//     same object for every start of a process.
//   - The ledger says which packages were accepted: the highest serial per driver and
//     key, the accepted package of each version, and the version that the operator
//     chose. An attacker who can write the directory cannot go back to an older package
//     with it; the operator can, to what was accepted before.
package depot

import (
	"crypto/sha256"
	"log/slog"
	"os"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/pack"
)

// Policy says what becomes of packages without a signature.
type Policy uint8

// The policies. The zero value denies.
const (
	Deny     Policy = iota // only signed packages
	AllowDev               // unsigned ones too, and bare executables
)

// String is the policy as the configuration writes it.
func (p Policy) String() string {
	if p == AllowDev {
		return "allow-dev"
	}
	return "deny"
}

// Store is the database that the ledger is kept in; *bbolt.DB is one.
type Store interface {
	View(func(*bbolt.Tx) error) error
	Update(func(*bbolt.Tx) error) error
}

// Options make a depot. The functions are asked at every scan, so what they answer
// may change.
type Options struct {
	Dir     func() string     // the drivers directory
	Trust   func() string     // path of the trust file; nil or "": nobody is trusted
	Policy  func() Policy     // nil: Deny
	DB      Store             // keeps the ledger; nil: it is kept in memory only
	Chosen  map[string]string // by driver, versions that are chosen in another ledger; usually nil
	Private string            // directory for private copies where files in memory cannot be executed; "": for temporary files
	API     int               // version of the driver protocol that this gateway speaks; 0: 1
	Log     *slog.Logger      // nil: silent
}

// Fixed is a function for Options that always answers the same.
func Fixed[T any](v T) func() T { return func() T { return v } }

// DevVersion is the version of a bare executable.
const DevVersion = "dev"

// An Image is the executable of an accepted package. It never changes.
type Image struct {
	Driver   string
	Version  string
	Serial   uint64
	Hash     [sha256.Size]byte // of the executable
	Manifest *pack.Manifest    // of a bare executable: one made up
	KeyID    string            // of the key that signed it
	Unsigned bool

	file *os.File
	pack *pack.Package // nil: a bare executable
}

// File is the executable: a file that holds the verified bytes and cannot change. It is
// shared, so nobody closes it or moves its offset; it is executed by its descriptor.
func (i *Image) File() *os.File { return i.file }

// drop frees an image that was given to nobody: what is in memory is not the garbage
// collector's concern, which would come for it late. i may be nil.
func (i *Image) drop() {
	if i != nil {
		_ = i.file.Close()
	}
}

// State says what became of a package.
type State uint8

// The states of a package.
const (
	Refused  State = iota // never run; Entry.Refusal says why
	Accepted              // verified
	Damaged               // was accepted; what lies there now is refused, and the image of before goes on
)

// String is the state in lower case.
func (s State) String() string { return [...]string{"refused", "accepted", "damaged"}[s] }

// An Entry is a package that was seen in the directory.
type Entry struct {
	Name     string // in the directory
	Driver   string // "" where the package could not be read
	Version  string
	Serial   uint64
	KeyID    string // of the key that signed it
	Signer   string // the trust file's comment on the key
	Unsigned bool
	Active   bool // its image is the driver's
	Chosen   bool // by the operator
	State    State
	Refusal  string    // one line; "" when accepted
	Accepted time.Time // first, by the ledger
}
