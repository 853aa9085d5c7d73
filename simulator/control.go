package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// Order is what somebody wants of a running simulator: a fault of a server or a device, for a
// time, or the end of one.
type Order struct {
	Server string        `json:"server,omitempty"`
	Device string        `json:"device,omitempty"`
	Fault  *Fault        `json:"fault,omitempty"` // nil: clear
	For    time.Duration `json:"for,omitempty"`   // 0: until it is cleared
}

// Obey does what an order says. A fault that is replaced or cleared before its time does not end
// the one that took its place.
func (s *Simulator) Obey(o Order) error {
	if s.ctx.Err() != nil {
		return errors.New("the simulator is ending")
	}
	begin, end, err := s.targetOf(o)
	if err != nil {
		return err
	}
	if o.Fault == nil {
		return end()
	}
	if err := begin(); err != nil {
		return err
	}
	if o.For <= 0 {
		return nil
	}
	mine := s.faultOf(o)
	s.wg.Go(func() {
		if pause(s.ctx, o.For) && s.faultOf(o) == mine {
			if err := end(); err != nil {
				s.log.Error("end of a fault", "err", err)
			}
		}
	})
	return nil
}

func (s *Simulator) targetOf(o Order) (begin, end func() error, err error) {
	if o.Fault != nil {
		return s.target(Scheduled{Server: o.Server, Device: o.Device, Fault: *o.Fault, For: o.For})
	}
	if srv, ok := s.servers[o.Server]; ok && o.Device == "" {
		return nil, srv.Clear, nil
	}
	if d, ok := s.devices[o.Device]; ok && o.Server == "" {
		return nil, func() error { d.Clear(); return nil }, nil
	}
	return nil, nil, fmt.Errorf("it names neither one server nor one device (server %q, device %q)", o.Server, o.Device)
}

// faultOf is which fault the target of an order has now, to be compared.
func (s *Simulator) faultOf(o Order) *Fault {
	if srv, ok := s.servers[o.Server]; ok {
		return srv.fault.Load()
	}
	return s.devices[o.Device].fault.Load()
}

// State is what a running simulator tells of itself: its counts, and the faults that are.
type State struct {
	Counts Counts           `json:"counts"`
	Faults map[string]Fault `json:"faults"` // by server or device
}

// State is the present one.
func (s *Simulator) State() State {
	st := State{Counts: s.Witness().Counts(), Faults: make(map[string]Fault)}
	for name, srv := range s.servers {
		srv.mu.Lock()
		refused := srv.refused
		srv.mu.Unlock()
		if f := srv.fault.Load(); f != nil {
			st.Faults[name] = *f
		} else if refused {
			st.Faults[name] = Fault{Kind: Refused}
		}
	}
	for name, d := range s.devices {
		if f := d.fault.Load(); f != nil {
			st.Faults[name] = *f
		}
	}
	return st
}

// maxOrder bounds the body of a request.
const maxOrder = 64 << 10

// Control serves orders and the state on a Unix socket, which only the user of the simulator
// can open, until ctx ends: GET /state, and POST /order with an Order as JSON.
func (s *Simulator) Control(ctx context.Context, socket string) error {
	if old, err := net.Dial("unix", socket); err == nil {
		_ = old.Close()
		return fmt.Errorf("%s: another simulator listens there", socket)
	}
	_ = os.Remove(socket) // of one that was killed
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.State()) // the caller may have gone
	})
	mux.HandleFunc("POST /order", func(w http.ResponseWriter, r *http.Request) {
		var o Order
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		d.DisallowUnknownFields()
		err := d.Decode(&o)
		if err == nil {
			err = s.Obey(o)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Ask gives an order to the simulator that listens on a socket.
func Ask(ctx context.Context, socket string, o Order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = call(ctx, socket, http.MethodPost, "/order", string(body))
	return err
}

// StateOf asks the simulator that listens on a socket.
func StateOf(ctx context.Context, socket string) (st State, err error) {
	text, err := call(ctx, socket, http.MethodGet, "/state", "")
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(text, &st)
}
