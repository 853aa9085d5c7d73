package host

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

const (
	// maxAnswers bounds the questions of one process that are worked on at a time;
	// further ones wait in the stream.
	maxAnswers = 16
	// A process may ask questionRate questions a second on average, and questionBurst at once,
	// as at the start of thousands of links that have secrets; more wait in the stream.
	questionRate  = 2000
	questionBurst = 50_000
	// answerLimit bounds the work on one.
	answerLimit = 10 * time.Second
	// servicesAgain is the pause before a lost stream of questions is opened again.
	servicesAgain = time.Second
)

// Services answers the questions of a driver. Its methods may be called concurrently, by up to
// 16 goroutines a process; ctx bounds each call.
type Services interface {
	// StoreGet returns the value of key in the link's map, nil when there is none.
	StoreGet(ctx context.Context, link, key string) ([]byte, error)
	// StorePut returns when the value is durable. A nil value deletes the key.
	StorePut(ctx context.Context, link, key string, value []byte) error
	// Secret returns a secret by its name. It fails with driver.Denied where no setting of the
	// link, which must be one of this driver, is "secret:" and that name, and with
	// driver.NotFound where there is no such secret. Its errors do not hold the value.
	Secret(ctx context.Context, link, name string) ([]byte, error)
	// Gateway tells the gateway's name and its time.
	Gateway(ctx context.Context) (name string, now time.Time, err error)
}

// An answerer answers the questions of one driver process.
type answerer struct {
	rpc      driverv1.DriverServiceClient
	services Services // nil: none are offered
	log      *slog.Logger
	pid      int
	stopping *atomic.Bool // the process was asked to exit

	spent float64   // of questionBurst; used by answerAll only, as is the next
	at    time.Time // when spent was true
}

// pace waits until the process may ask one more.
func (a *answerer) pace(ctx context.Context, now time.Time) error {
	a.spent = max(0, a.spent-now.Sub(a.at).Seconds()*questionRate) + 1
	a.at = now
	if a.spent <= questionBurst {
		return nil
	}
	wait := time.NewTimer(time.Second / questionRate)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve keeps the stream of questions open until ctx, which ends with the process. It
// does so without Services too: the stream is how the driver knows that the core is alive.
func (a *answerer) serve(ctx context.Context) {
	for {
		err := a.answerAll(ctx)
		if ctx.Err() != nil || status.Code(err) == codes.Unimplemented {
			return
		}
		select {
		case <-time.After(servicesAgain):
		case <-ctx.Done(): // it ended because the process did
			return
		}
		if a.stopping.Load() { // or because it was asked to exit
			return
		}
		a.log.Warn("stream of the driver's questions ended: opening another", "pid", a.pid, "err", err)
	}
}

// answerAll answers the questions of one stream until it ends, and waits for the
// answers that are being worked on.
func (a *answerer) answerAll(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := a.rpc.Services(ctx)
	if err != nil {
		cancel()
		return err
	}
	var answers sync.WaitGroup
	defer answers.Wait()
	defer cancel()
	var sending sync.Mutex
	places := make(chan struct{}, maxAnswers)
	for {
		question, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := a.pace(ctx, time.Now()); err != nil {
			return err
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		answers.Go(func() {
			defer func() { <-places }()
			answer := a.answer(ctx, question)
			sending.Lock()
			defer sending.Unlock()
			_ = stream.Send(answer) // Recv tells that the stream is lost
		})
	}
}

func (a *answerer) answer(ctx context.Context, question *driverv1.ServicesResponse) *driverv1.ServicesRequest {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	answer := &driverv1.ServicesRequest{Id: question.GetId()}
	err := a.fill(ctx, answer, question)
	if err != nil {
		answer.Answer = &driverv1.ServicesRequest_Fault{Fault: wire.EncodeFault(driver.AsError(err))}
	}
	return answer
}

func (a *answerer) fill(ctx context.Context, answer *driverv1.ServicesRequest, question *driverv1.ServicesResponse) error {
	if a.services == nil {
		return driver.Errorf(driver.Unsupported, "the core offers no services")
	}
	switch q := question.GetQuestion().(type) {
	case *driverv1.ServicesResponse_StoreGet:
		if err := wire.CheckKey(q.StoreGet.GetKey()); err != nil {
			return err
		}
		value, err := a.services.StoreGet(ctx, q.StoreGet.GetLink(), q.StoreGet.GetKey())
		answer.Answer = &driverv1.ServicesRequest_StoreGot{StoreGot: &driverv1.StoreGot{Value: value}}
		return err
	case *driverv1.ServicesResponse_StorePut:
		if err := wire.CheckKey(q.StorePut.GetKey()); err != nil {
			return err
		}
		value := q.StorePut.GetValue()
		if len(value) > wire.MaxValue {
			return driver.Errorf(driver.BadValue, "value of %d bytes: at most %d are kept", len(value), wire.MaxValue)
		}
		answer.Answer = &driverv1.ServicesRequest_StoreDone{StoreDone: &driverv1.StoreDone{}}
		return a.services.StorePut(ctx, q.StorePut.GetLink(), q.StorePut.GetKey(), value)
	case *driverv1.ServicesResponse_SecretGet:
		return a.fillSecret(ctx, answer, q.SecretGet)
	case *driverv1.ServicesResponse_GatewayGet:
		name, now, err := a.services.Gateway(ctx)
		answer.Answer = &driverv1.ServicesRequest_Gateway{Gateway: &driverv1.Gateway{Name: name, TimeUnixNs: wire.EncodeTime(now)}}
		return err
	default:
		return driver.Errorf(driver.Unsupported, "question %d is of a kind that this gateway does not know: it is older than the driver", question.GetId())
	}
}

func (a *answerer) fillSecret(ctx context.Context, answer *driverv1.ServicesRequest, q *driverv1.SecretGet) error {
	if err := wire.CheckSecret(q.GetName()); err != nil {
		return err
	}
	value, err := a.services.Secret(ctx, q.GetLink(), q.GetName())
	if err == nil && len(value) > wire.MaxValue {
		err = driver.Errorf(driver.BadValue, "secret %q has %d bytes: at most %d are given out", q.GetName(), len(value), wire.MaxValue)
	}
	if err != nil {
		return err
	}
	answer.Answer = &driverv1.ServicesRequest_Secret{Secret: &driverv1.Secret{Value: value}}
	return nil
}
