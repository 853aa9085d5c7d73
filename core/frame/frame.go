package frame

import (
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A Batch is a set of samples in columns.
type Batch struct {
	Blocks  []Block
	Patient bool // nobody waits until it is stored
}

// A Block is samples of one kind, usually of one poll.
type Block struct {
	// Runs are the handles: pairs of a number to skip since the end of the run
	// before (the first starts from handle 0) and the length of the run.
	Runs   []uint32
	Time   int64   // Unix nanoseconds, of every sample, ...
	Deltas []int64 // ... plus these, one a sample; nil: all the same
	Kind   driver.Kind
	// The column that Kind says has one value a sample; the others are nil.
	Bools   []bool
	Ints    []int64
	Uints   []uint64
	Floats  []float64
	Strings []string
	Bytes   [][]byte
	// Exceptions name the samples that are not Good.
	Exceptions []Exception
}

// An Exception is the quality of a run of samples of a block.
type Exception struct {
	First, Count uint32
	Quality      driver.Quality
	Fault        *driver.Error
}

// A Gap says what was lost.
type Gap struct {
	Samples  uint64
	FirstSeq uint64 // the frames that the samples were in; 0: they never had one
	LastSeq  uint64
	From, To time.Time
	Cause    *driver.Error
	Links    []GapLink // whose they were; nil: it is not known
}

// A GapLink is what was lost of one link, or of one device of it.
type GapLink struct {
	Link   string
	Device string // empty: of any of the link's
	Polls  uint64 // that were due in the gap; 0: nothing is known of polls
	// Uncounted reports that samples were lost too of which nobody knows how many:
	// they come unasked, or of polls without a period.
	Uncounted bool
}

// A HandleSample is one sample of a batch.
type HandleSample struct {
	Handle uint32
	driver.Sample
}

// A Frame is the unit of sequence, storage and acknowledgement.
type Frame struct {
	Sequence uint64
	Data     []byte // encoded; owned by the ring, valid until acknowledged; not to be changed
	Samples  int
	// Exactly one of these is set where the engine has no Options.Encode; both
	// are nil otherwise.
	Batch *Batch
	Gap   *Gap
}
