package host

import (
	"bufio"
	"io"
	"log/slog"
	"os"
)

// PumpLines logs what r has and returns the last n lines.
func PumpLines(log *slog.Logger, r io.Reader, n int) []string {
	keep := newTail(n)
	newPump(log, "stderr", keep, nil, 0).run(bufio.NewReaderSize(r, maxLine))
	return keep.last()
}

// HearLines gives onLine what r has, as it comes.
func HearLines(r io.Reader, onLine func(Line)) {
	newPump(slog.New(slog.DiscardHandler), "stderr", newTail(1), onLine, 0).run(bufio.NewReaderSize(r, maxLine))
}

// NewFollower follows a file as that of a detached process's lines.
func NewFollower(file *os.File, wake chan struct{}, ended <-chan struct{}, lost func(bytes int64)) io.Reader {
	return &follower{file: file, wake: wake, ended: ended, quit: make(chan struct{}), note: func(int64) {}, lost: lost}
}

// ParseHandshake checks a first line.
func ParseHandshake(line string) error {
	_, err := parseHandshake(line)
	return err
}

// NewSilence, Begin and Over are what an attachment does with a silence.
var NewSilence = newSilence

func (s *silence) Begin() { s.begin() }

func (s *silence) Over() { s.over() }
