package serial

import "time"

// A framer cuts a stream of bytes into frames, of text or not. It does no I/O, keeps a bounded
// number of bytes, and is used by one goroutine at a time.
type framer interface {
	// feed takes bytes that came after request number now, and hands on every frame that is
	// complete.
	feed(b []byte, now uint64, take func(line))

	// begun reports whether a frame has begun and is not complete.
	begun() bool

	// idle is how long the line has to be silent for a frame that has begun to end; 0: silence
	// ends none. quiet is called then.
	idle() time.Duration
	quiet(take func(line))
}

// line is one frame: of a line of text what is before its terminator, else all of it.
type line struct {
	text  string
	began uint64 // the request that was the last one when the frame began
	long  bool   // the frame was too long; text is empty
	wrong string // why the frame is not to be believed: its checksum; empty: it is
}

// A lineFramer cuts a stream into lines of text.
type lineFramer struct {
	terminator []byte
	maxLine    int
	sum        *checksum // nil: none

	line  []byte // so far, with what may be the beginning of the terminator
	first uint64 // the request that was the last one when the line began
	long  bool   // the line is longer than maxLine: it is thrown away
}

var _ framer = (*lineFramer)(nil)

func (f *lineFramer) feed(b []byte, now uint64, take func(line)) {
	last := f.terminator[len(f.terminator)-1]
	for _, c := range b {
		if !f.begun() {
			f.first = now
		}
		f.line = append(f.line, c)
		if c == last && f.terminated() {
			content := f.line[:len(f.line)-len(f.terminator)]
			switch {
			case f.long || len(content) > f.maxLine:
				take(line{began: f.first, long: true})
			case len(content) > 0:
				text, wrong := f.sum.verify(content)
				take(line{text: string(text), began: f.first, wrong: wrong})
			}
			f.line, f.long = f.line[:0], false
		}
		f.bound()
	}
}

func (f *lineFramer) begun() bool { return len(f.line) > 0 || f.long }

func (*lineFramer) idle() time.Duration { return 0 }

func (*lineFramer) quiet(func(line)) {}

func (f *lineFramer) terminated() bool {
	n := len(f.line) - len(f.terminator)
	return n >= 0 && string(f.line[n:]) == string(f.terminator)
}

// bound forgets all but the end of a line that is too long: the terminator may have
// begun there.
func (f *lineFramer) bound() {
	if len(f.line) < f.maxLine+len(f.terminator) {
		return
	}
	keep := len(f.terminator) - 1
	n := copy(f.line, f.line[len(f.line)-keep:])
	f.line, f.long = f.line[:n], true
}
