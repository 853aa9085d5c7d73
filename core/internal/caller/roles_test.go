package caller_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/internal/caller"
)

// These make this test binary one of the processes of a scene: see roles.
const (
	envRole   = "TEST_ROLE"
	envSocket = "TEST_SOCKET"
)

func TestMain(m *testing.M) {
	name, argument, _ := strings.Cut(os.Getenv(envRole), " ")
	if name == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := roles()[name](argument); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// roles are what a process of a scene does. Those but the first are drivers and what drivers
// start, or persons, as whoever starts them has it.
func roles() map[string]func(string) error {
	return map[string]func(string) error{
		"gateway": gateway,
		"connect": connect,
		"parent":  func(label string) error { return run("connect "+label, false, true) },
		"deserter": func(label string) error { // its child connects when it is gone
			return run(fmt.Sprintf("orphan %d %s", os.Getpid(), label), false, false)
		},
		"orphan": orphan,
		"demon": func(label string) error { // a child in a session of its own, whose parent is gone
			return run("deserter "+label, true, true)
		},
		"try": func(role string) error {
			over, err := caller.Try()
			if err != nil {
				return err
			}
			defer over()
			if err := run(role, true, true); err != nil {
				return err
			}
			return untilTerminated()
		},
		"await": func(role string) error { // the scene knows it before it begins
			if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
				return err
			}
			return run(role, false, true)
		},
	}
}

// run starts a process of a role.
func run(role string, session, wait bool) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envRole+"="+role)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	if !wait {
		return cmd.Start()
	}
	return cmd.Run()
}

// connect connects to the gateway, says which of the scene's processes it is, and waits for the verdict, unless
// it is one that is to be judged when it has ended.
func connect(label string) error {
	conn, err := net.Dial("unix", os.Getenv(envSocket))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, label); err != nil || strings.HasPrefix(label, "gone") {
		return err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}

// orphan connects when the process with a number is gone.
func orphan(argument string) error {
	number, label, _ := strings.Cut(argument, " ")
	if err := untilGone(number); err != nil {
		return err
	}
	return connect(label)
}

func untilGone(pid string) error {
	for range 60_000 {
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("process %s does not end", pid)
}

func untilTerminated() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return nil
}

// gateway knows drivers and judges who connects. Its input has a line for each thing that
// it is to do; its output one for each verdict.
func gateway(argument string) error {
	l, err := net.Listen("unix", os.Getenv(envSocket))
	if err != nil {
		return err
	}
	defer l.Close()
	var d caller.Drivers
	if argument == "adopts" {
		go func() { _ = d.Adopt(context.Background()) }()
	}
	fmt.Println("up")
	go accept(l, &d)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if err := obey(&d, word, rest); err != nil {
			return err
		}
	}
	return nil
}

func obey(d *caller.Drivers, word, rest string) error {
	if word == "start" {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env, cmd.Stderr = append(os.Environ(), envRole+"="+rest), os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := d.Start(cmd); err != nil {
			return err
		}
		go func() { _ = cmd.Wait() }()
		return nil
	}
	var pid int
	var start uint64
	if _, err := fmt.Sscan(rest, &pid, &start); err != nil {
		return err
	}
	d.Add(pid, start, word == "byhand")
	fmt.Println("known")
	return nil
}

func accept(l net.Listener, d *caller.Drivers) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			label, verdict := judge(conn, d)
			fmt.Printf("%s: %s\n", label, verdict)
			_, _ = fmt.Fprintln(conn, verdict)
		}()
	}
}

// judge reads who it is, and waits for the end of those that are to be judged after it.
func judge(conn net.Conn, d *caller.Drivers) (label, verdict string) {
	early, err := caller.Of(conn)
	if err == nil {
		defer early.Close()
	}
	label, _ = bufio.NewReader(conn).ReadString('\n')
	label = strings.TrimSpace(label)
	if err == nil && strings.HasPrefix(label, "gone") {
		if gone := untilGone(strconv.Itoa(early.PID())); gone != nil {
			return label, gone.Error()
		}
	}
	if label == "gone-early" { // as where nobody looked before
		var late *caller.Peer
		if late, err = caller.Of(conn); err == nil {
			defer late.Close()
			early = late
		}
	}
	if err == nil {
		err = d.Judge(early)
	}
	switch {
	case err == nil:
		return label, "a person"
	case errors.Is(err, caller.ErrDriver):
		return label, "a driver"
	}
	return label, "unknown"
}
