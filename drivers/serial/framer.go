package serial

// framer cuts a stream of bytes into lines.
type framer struct {
	terminator []byte
	maxLine    int

	line  []byte // so far, with what may be the beginning of the terminator
	began uint64 // the request that was the last one when the line began
	long  bool   // the line is longer than maxLine: it is thrown away
}

// line is one line without its terminator.
type line struct {
	text  string
	began uint64 // see framer.began
	long  bool   // the line was too long; text is empty
}

// feed takes bytes that came after request number now, and hands on every line
// that is complete.
func (f *framer) feed(b []byte, now uint64, take func(line)) {
	last := f.terminator[len(f.terminator)-1]
	for _, c := range b {
		if len(f.line) == 0 && !f.long {
			f.began = now
		}
		f.line = append(f.line, c)
		if c == last && f.terminated() {
			content := f.line[:len(f.line)-len(f.terminator)]
			switch {
			case f.long || len(content) > f.maxLine:
				take(line{began: f.began, long: true})
			case len(content) > 0:
				take(line{text: string(content), began: f.began})
			}
			f.line, f.long = f.line[:0], false
		}
		f.bound()
	}
}

func (f *framer) terminated() bool {
	n := len(f.line) - len(f.terminator)
	return n >= 0 && string(f.line[n:]) == string(f.terminator)
}

// bound forgets all but the end of a line that is too long: the terminator may have
// begun there.
func (f *framer) bound() {
	if len(f.line) < f.maxLine+len(f.terminator) {
		return
	}
	keep := len(f.terminator) - 1
	n := copy(f.line, f.line[len(f.line)-keep:])
	f.line, f.long = f.line[:n], true
}
