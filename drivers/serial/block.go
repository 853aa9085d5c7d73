package serial

import (
	"bytes"
	"slices"
	"time"
)

// blockForm says where a frame begins and where it ends, in what was received.
type blockForm struct {
	start   []byte // empty: where the one before ended
	end     []byte // empty: by its length, or by silence
	after   int    // bytes that follow the end and belong to the frame
	size    int    // of a frame of fixed length; 0: it is not
	length  *lengthField
	silence time.Duration // that ends a frame; 0: none does
	escape  *escape
	most    int // bytes of the longest frame
	sum     *checksum
	shift   *shift
}

// A lengthField is a number in a frame that says how long it is.
type lengthField struct {
	offset int // from the start of the frame
	size   int // 1 to 4 bytes
	little bool
	adds   int // to that number, for the size of the whole frame
}

// An escape is a byte that changes the one behind it, so that what looks like a start or an end
// can be data.
type escape struct {
	mark byte
	xor  byte          // the byte behind it is changed by this, ...
	to   map[byte]byte // ... unless it is here
}

// A shift is a number that was added to each byte of the data.
type shift struct {
	by       byte
	from, to int // to counts from the end: bytes that are left alone there
}

// A blockFramer cuts a stream into frames of a form. A frame whose checksum is wrong is looked
// through for another: what looked like a start may have been data.
type blockFramer struct {
	blockForm
	in    []byte   // what was received, from the begin of a frame on, or of what may be one
	marks []uint64 // for each byte the request that was the last one when it came
	wrong line     // of a frame that was wrong, ...
	until int      // ... and how many of the bytes in in are of it; 0: none is kept
}

var _ framer = (*blockFramer)(nil)

func (f *blockFramer) feed(b []byte, now uint64, take func(line)) {
	for len(b) > 0 {
		n := min(len(b), f.most)
		f.in = append(f.in, b[:n]...)
		for range n {
			f.marks = append(f.marks, now)
		}
		b = b[n:]
		f.cut(take)
	}
}

func (f *blockFramer) begun() bool { return len(f.in) > 0 }

func (f *blockFramer) idle() time.Duration { return f.silence }

// quiet ends a frame by silence. Where that is not how a frame ends, one that has begun is
// broken off.
func (f *blockFramer) quiet(take func(line)) {
	if len(f.in) == 0 {
		return
	}
	if f.end == nil && f.size == 0 && f.length == nil {
		f.give(len(f.in), f.in, take)
	} else {
		f.drop(len(f.in), take)
	}
}

// cut hands on the frames that are complete.
func (f *blockFramer) cut(take func(line)) {
	for len(f.in) > 0 {
		if !f.align(take) {
			return
		}
		raw, content, ok := f.extent()
		switch {
		case !ok && len(f.in) > f.most+len(f.end)+f.after:
			take(line{began: f.marks[0], long: true})
			f.drop(max(1, len(f.start)), take)
		case !ok:
			return
		case raw < 0: // it is none
			f.drop(1, take)
		default:
			f.give(raw, content, take)
		}
	}
}

// align drops what is before the start of a frame, and reports whether there is one.
func (f *blockFramer) align(take func(line)) bool {
	if len(f.start) == 0 {
		return true
	}
	if at := bytes.Index(f.in, f.start); at >= 0 {
		f.drop(at, take)
		return true
	}
	keep := 0 // a start that has begun
	for n := min(len(f.start)-1, len(f.in)); n > 0; n-- {
		if bytes.HasPrefix(f.start, f.in[len(f.in)-n:]) {
			keep = n
			break
		}
	}
	f.drop(len(f.in)-keep, take)
	return false
}

// extent finds the end of the frame that begins at in: how many bytes it takes there, and what
// they are without their escapes. raw below 0: what begins there is no frame.
func (f *blockFramer) extent() (raw int, content []byte, ok bool) {
	if f.end != nil {
		return f.byEnd()
	}
	want := f.size
	if f.length == nil && want == 0 {
		return 0, nil, false // silence ends it
	}
	raw = 0
	for {
		if f.length != nil {
			if n, known := f.length.of(content); known {
				if want = n; want <= len(f.start) || want > f.most {
					return -1, nil, true
				}
			}
		}
		if want > 0 && len(content) >= want {
			return raw, content, true
		}
		c, n := f.next(raw)
		if n == 0 {
			return 0, nil, false
		}
		content = append(content, c)
		raw += n
	}
}

// byEnd finds the end of a frame by the bytes that end it.
func (f *blockFramer) byEnd() (raw int, content []byte, ok bool) {
	raw = len(f.start)
	content = append(content, f.in[:raw]...)
	for {
		if bytes.HasPrefix(f.in[raw:], f.end) && len(content) > 0 {
			whole := raw + len(f.end) + f.after
			if len(f.in) < whole {
				return 0, nil, false
			}
			return whole, append(content, f.in[raw:whole]...), true
		}
		if len(f.start) == 0 && raw == 0 && bytes.HasPrefix(f.in, f.end) {
			return -1, nil, true // an end alone
		}
		if len(f.start) > 0 && bytes.HasPrefix(f.in[raw:], f.start) && !bytes.Equal(f.start, f.end) {
			return -1, nil, true // a frame that was broken off, and another
		}
		c, n := f.next(raw)
		if n == 0 {
			return 0, nil, false
		}
		content = append(content, c)
		raw += n
	}
}

// next is the byte at a place, without its escape, and how many bytes it takes; 0: it is not
// there yet.
func (f *blockFramer) next(at int) (c byte, n int) {
	if at >= len(f.in) {
		return 0, 0
	}
	c = f.in[at]
	if f.escape == nil || c != f.escape.mark || at < len(f.start) {
		return c, 1
	}
	if at+1 >= len(f.in) {
		return 0, 0
	}
	c = f.in[at+1]
	if to, known := f.escape.to[c]; known {
		return to, 2
	}
	return c ^ f.escape.xor, 2
}

// of is the size of the frame whose first bytes are these, if it can be told.
func (l *lengthField) of(content []byte) (int, bool) {
	if len(content) < l.offset+l.size {
		return 0, false
	}
	field := slices.Clone(content[l.offset : l.offset+l.size])
	if l.little {
		slices.Reverse(field)
	}
	n := 0
	for _, c := range field {
		n = n<<8 | int(c)
	}
	return n + l.adds, true
}

// give hands on a frame that takes so many bytes.
func (f *blockFramer) give(raw int, content []byte, take func(line)) {
	began := f.marks[0]
	text, wrong := f.sum.verify(content)
	if wrong == "" {
		f.until, f.wrong = 0, line{} // what looked like a frame before was a part of this one, or garbage
		f.forget(raw)
		take(line{text: string(f.shift.undo(text)), began: began})
		return
	}
	if f.until == 0 {
		f.wrong, f.until = line{text: string(f.shift.undo(text)), began: began, wrong: wrong}, raw
	}
	f.drop(1, take)
}

// drop forgets bytes that are of no frame. With the last of one that was wrong it is told.
func (f *blockFramer) drop(n int, take func(line)) {
	f.forget(n)
	if f.until == 0 {
		return
	}
	if f.until -= n; f.until <= 0 {
		f.until = 0
		take(f.wrong)
		f.wrong = line{}
	}
}

func (f *blockFramer) forget(n int) {
	f.in = f.in[:copy(f.in, f.in[n:])]
	f.marks = f.marks[:copy(f.marks, f.marks[n:])]
}

// undo takes the shift off the data of a frame.
func (s *shift) undo(frame []byte) []byte {
	if s == nil {
		return frame
	}
	frame = slices.Clone(frame)
	for i := s.from; i < len(frame)-s.to; i++ {
		frame[i] -= s.by
	}
	return frame
}
