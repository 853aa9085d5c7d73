package modbus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// bend returns the answer of a well server with one thing changed.
func (s *server) bend(change func(answer []byte) []byte) func(adu []byte) [][]byte {
	return func(adu []byte) [][]byte { return [][]byte{change(s.reply(adu))} }
}

func (s *server) set(answer func(adu []byte) [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func silence([]byte) [][]byte { return nil }

// set puts b at i.
func put(i int, b ...byte) func([]byte) []byte {
	return func(answer []byte) []byte {
		copy(answer[i:], b)
		return answer
	}
}

func TestAnswersThatAreWrong(t *testing.T) {
	tests := []struct {
		name   string
		change func([]byte) []byte
		code   driver.Code
		text   string
	}{
		{"other unit", put(6, 9), driver.Protocol, "unit id '9' does not match"},
		{"other function", put(7, 4), driver.Protocol, "function 3 was answered with function 4"},
		{"exception of another function", put(7, 0x84), driver.Protocol, "answered with function 132"},
		{"exception with too much", put(7, 0x83), driver.Protocol, "an exception of 6 bytes where it has 2"},
		{"byte count too small", put(8, 2), driver.Protocol, "a byte count of 2 where 4 were asked"},
		{"byte count too large", put(8, 6), driver.Protocol, "a byte count of 6"},
		{"a register too few", func(b []byte) []byte { return frame(b, []byte{3, 2, 0, 1}) }, driver.Protocol, "an answer of 2 bytes"},
		{"a register too many", func(b []byte) []byte { return frame(b, []byte{3, 6, 0, 1, 0, 2, 0, 3}) }, driver.Protocol, "an answer of 6 bytes"},
		{"no data at all", func(b []byte) []byte { return frame(b, []byte{3}) }, driver.Protocol, "an answer of 0 bytes"},
		{"other transaction", put(0, 0x77, 0x77), driver.Timeout, "no answer within 1s; 1 late or with a transaction id that was not asked"},
		{"other protocol", put(2, 1, 0), driver.Protocol, "no Modbus frame: protocol id 256"},
		{"length of nothing", put(4, 0, 1), driver.Protocol, "a length of 1, outside of 2 to 254"},
		{"length of too much", put(4, 1, 0), driver.Protocol, "a length of 256"},
		{"half a frame", func(b []byte) []byte { return b[:10] }, driver.Timeout, "half an answer within 1s"},
		{"half a header", func(b []byte) []byte { return b[:3] }, driver.Timeout, "half an answer within 1s"},
		{"garbage", func([]byte) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }, driver.Protocol, "no Modbus frame"},
		{"silence", func([]byte) []byte { return nil }, driver.Timeout, "read holding 100+2: no answer within 1s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.set(s.bend(test.change))
				u := newRig(t, s, "").mustUnit("", "holding:100", "holding:101")
				start := time.Now()
				out, err := u.poll()
				mustFail(t, err, test.code, test.text)
				if took := time.Since(start); took > timeout {
					t.Errorf("it took %v", took)
				}
				for _, sample := range out {
					if sample.Quality != driver.Bad {
						t.Errorf("sample %+v", sample)
					}
				}
				s.set(nil)
				if _, err := u.poll(); err != nil {
					t.Errorf("the next poll, the device being well again: %v", err)
				}
			})
		})
	}
}

// A write whose answer is not the echo of the request is not acknowledged.
func TestWriteAnswersThatAreWrong(t *testing.T) {
	for _, i := range []int{8, 9, 10, 11} {
		s := newServer()
		s.set(s.bend(put(i, 0x55)))
		u := newRig(t, s, "").mustUnit("", "holding:100")
		mustFail(t, u.write(0, u64(7)), driver.Protocol, "does not match request")
	}
}

func TestWriteWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(silence)
		u := newRig(t, s, "").mustUnit(`{"write_bit":"read_modify_write"}`, "holding:100", "holding:100.1")
		mustFail(t, u.write(0, u64(7)), driver.Timeout, "the device may have taken the value or not")
		if n := s.requests(); n != 1 {
			t.Errorf("the write was sent %d times", n)
		}
		if err := u.write(1, yes); contains(err.Error(), "may have taken") {
			t.Errorf("nothing was written: %v", err)
		}
	})
}

// An answer that comes after its time-out is discarded, and the polls go on.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.pause = timeout + timeout/2
		s.registers[1][100] = 1
		s.set(func(adu []byte) [][]byte { return [][]byte{nil, s.reply(adu)} })
		u := newRig(t, s, "").mustUnit("", "holding:100")
		_, err := u.poll()
		mustFail(t, err, driver.Timeout, "no answer within 1s")
		s.set(nil)
		s.mu.Lock()
		s.registers[1][100] = 2 // the late answer has 1
		s.mu.Unlock()
		for i := range 3 {
			out := u.mustPoll()
			if out[0].Value.Uint64() != 2 && i > 0 {
				t.Errorf("poll %d: %v is the late answer", i, out[0].Value)
			}
		}
	})
}

// An id whose answer may still come is not given again, even after 65536 requests.
func TestLateIDIsNotReused(t *testing.T) {
	s := newServer()
	var owed []byte
	s.set(func(adu []byte) [][]byte {
		id := binary.BigEndian.Uint16(adu)
		if owed == nil {
			owed = slices.Clone(adu[:2])
			return nil
		}
		if binary.BigEndian.Uint16(owed) == id {
			t.Errorf("id %d was given again", id)
		}
		return [][]byte{s.reply(adu)}
	})
	r := newRig(t, s, "")
	u := r.mustUnit("", "holding:100")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	out := make([]driver.Sample, 1)
	reader := u.device.(driver.Reader)
	if err := reader.Read(ctx, u.points, out); driver.CodeOf(err) != driver.Timeout {
		t.Fatal(err)
	}
	modbus.SkipIDs(r.link, 65530)
	for range 10 {
		if err := reader.Read(t.Context(), u.points, out); err != nil {
			t.Fatal(err)
		}
	}
}

// A byte a second never blocks beyond the time-out.
func TestByteASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.pause = time.Second - time.Millisecond
		s.set(func(adu []byte) [][]byte {
			var parts [][]byte
			for _, b := range s.reply(adu) {
				parts = append(parts, []byte{b})
			}
			return parts
		})
		u := newRig(t, s, "").mustUnit("", "holding:100")
		start := time.Now()
		_, err := u.poll()
		mustFail(t, err, driver.Timeout, "half an answer")
		if took := time.Since(start); took > timeout {
			t.Errorf("it took %v", took)
		}
	})
}

// A caller that gives up early, as the probe of a demoted device does, leaves no
// half answer behind for its neighbour on the connection to stumble over.
func TestHalfAnAnswerIsNotLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(s.bend(func(b []byte) []byte { return b[:10] }))
		u := newRig(t, s, "").mustUnit("", "holding:100")
		ctx, cancel := context.WithTimeout(t.Context(), timeout/10)
		defer cancel()
		err := u.device.(driver.Reader).Read(ctx, u.points, make([]driver.Sample, 1))
		mustFail(t, err, driver.Timeout, "half an answer")
		s.set(nil)
		if _, err := u.poll(); err != nil { // on another connection
			t.Error(err)
		}
	})
}

// A dead unit costs its neighbours nothing but the time of its request.
func TestDeadUnitOnASharedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(func(adu []byte) [][]byte {
			if adu[6] == 7 {
				return nil
			}
			return [][]byte{s.reply(adu)}
		})
		r := newRig(t, s, `{"url":"tcp://device","window":4}`)
		dead, alive := r.mustUnit(`{"unit":7}`, "holding:1"), r.mustUnit(`{"unit":8}`, "holding:1")
		done := make(chan error)
		go func() {
			_, err := dead.poll()
			done <- err
		}()
		start := time.Now()
		for range 100 {
			alive.mustPoll()
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the neighbour waited %v", took)
		}
		mustFail(t, <-done, driver.Timeout, "unit 7: read holding 1+1: no answer")
		if took := time.Since(start); took != timeout {
			t.Errorf("the dead unit took %v", took)
		}
	})
}

func TestContextEndsTheCall(t *testing.T) {
	canceledAfter := func(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(parent)
		time.AfterFunc(d, cancel)
		return ctx, cancel
	}
	contexts := []struct {
		name  string
		make  func(context.Context) (context.Context, context.CancelFunc)
		cause error
		takes time.Duration
	}{
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, timeout/4)
		}, context.DeadlineExceeded, timeout / 4},
		{"canceled", func(ctx context.Context) (context.Context, context.CancelFunc) { return canceledAfter(ctx, timeout/4) }, context.Canceled, timeout / 4},
		{"canceled at once", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return canceledAfter(ctx, time.Millisecond)
		}, context.Canceled, timeout / 10},
	}
	for _, c := range contexts {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.set(silence)
				u := newRig(t, s, "").mustUnit("", "holding:1")
				for _, call := range []func(context.Context) error{
					func(ctx context.Context) error {
						return u.device.(driver.Reader).Read(ctx, u.points, make([]driver.Sample, 1))
					},
					func(ctx context.Context) error { return u.device.(driver.Writer).Write(ctx, u.points[0], u64(1)) },
				} {
					ctx, cancel := c.make(t.Context())
					start := time.Now()
					err := call(ctx)
					took := time.Since(start)
					cancel()
					text := "given up"
					if errors.Is(c.cause, context.DeadlineExceeded) {
						text = "no answer in the time that there was"
					}
					mustFail(t, err, driver.Timeout, text)
					if !errors.Is(err, c.cause) {
						t.Errorf("%v is not %v", err, c.cause)
					}
					if took != c.takes {
						t.Errorf("it took %v, want %v", took, c.takes)
					}
				}
				s.set(nil)
				u.mustPoll()
			})
		})
	}
}

// Nothing is written for a caller that has given up.
func TestNoWriteWithAContextThatHasEnded(t *testing.T) {
	s := newServer()
	u := newRig(t, s, "").mustUnit("", "holding:1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mustFail(t, u.device.(driver.Writer).Write(ctx, u.points[0], u64(1)), driver.Timeout, "given up")
	if n := s.requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestCloseEndsCallsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set(silence)
		r := newRig(t, s, `{"url":"tcp://device","window":2}`)
		ends := make(chan error)
		for range 4 { // two in flight, of which one reads, and two wait for room
			u := r.mustUnit("", "holding:1")
			go func() {
				_, err := u.poll()
				ends <- err
			}()
		}
		synctest.Wait()
		if err := r.link.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for range 4 {
			mustFail(t, <-ends, driver.NotConnected, "closed")
		}
	})
}

// Answers to a window of requests find their requests in whatever order they come.
func TestWindowInAnyOrder(t *testing.T) {
	s := newServer()
	for i := range s.registers[1] {
		s.registers[1][i] = uint16(i) * 3
	}
	var held [][]byte
	s.set(func(adu []byte) [][]byte {
		held = append(held, s.reply(adu))
		if len(held) < 4 {
			return nil
		}
		answers := held
		held = nil
		slices.Reverse(answers)
		return [][]byte{slices.Concat(answers...)}
	})
	u := newRig(t, s, `{"url":"tcp://device","window":4}`).mustUnit(`{"gap":0}`,
		"holding:0", "holding:10", "holding:20", "holding:30", "holding:40", "holding:50", "holding:60", "holding:70")
	for i, sample := range u.mustPoll() {
		if got := sample.Value.Uint64(); got != uint64(i)*30 || sample.Quality != driver.Good {
			t.Errorf("point %d is %d (%v)", i, got, sample.Fault)
		}
	}
}
