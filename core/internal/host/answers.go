package host

import (
	"context"
	"sync"
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
	// answerLimit bounds the work on one.
	answerLimit = 10 * time.Second
	// servicesAgain is the pause before a lost stream of questions is opened again.
	servicesAgain = time.Second
)

// Services answers the questions of a driver. Its methods may be called
// concurrently, by up to 16 goroutines a process; ctx bounds each call.
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

// serveQuestions keeps the stream of questions open while the process lives. It
// does so without Services too: the stream is how the driver knows that the core is alive.
func (p *Process) serveQuestions() {
	ctx := p.alive
	p.work.Go(func() {
		for {
			err := p.answerAll(ctx)
			if ctx.Err() != nil || status.Code(err) == codes.Unimplemented {
				return
			}
			select {
			case <-time.After(servicesAgain):
			case <-ctx.Done(): // it ended because the process did
				return
			}
			if p.stopping.Load() { // or because it was asked to exit
				return
			}
			p.command.Log.Warn("stream of the driver's questions ended: opening another", "pid", p.PID(), "err", err)
		}
	})
}

// answerAll answers the questions of one stream until it ends, and waits for the
// answers that are being worked on.
func (p *Process) answerAll(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := p.rpc.Services(ctx)
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
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		answers.Go(func() {
			defer func() { <-places }()
			answer := p.answer(ctx, question)
			sending.Lock()
			defer sending.Unlock()
			_ = stream.Send(answer) // Recv tells that the stream is lost
		})
	}
}

func (p *Process) answer(ctx context.Context, question *driverv1.ServicesResponse) *driverv1.ServicesRequest {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	answer := &driverv1.ServicesRequest{Id: question.GetId()}
	err := p.fill(ctx, answer, question)
	if err != nil {
		answer.Answer = &driverv1.ServicesRequest_Fault{Fault: wire.EncodeFault(driver.AsError(err))}
	}
	return answer
}

func (p *Process) fill(ctx context.Context, answer *driverv1.ServicesRequest, question *driverv1.ServicesResponse) error {
	services := p.command.Services
	if services == nil {
		return driver.Errorf(driver.Unsupported, "the core offers no services")
	}
	switch q := question.GetQuestion().(type) {
	case *driverv1.ServicesResponse_StoreGet:
		if err := wire.CheckKey(q.StoreGet.GetKey()); err != nil {
			return err
		}
		value, err := services.StoreGet(ctx, q.StoreGet.GetLink(), q.StoreGet.GetKey())
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
		return services.StorePut(ctx, q.StorePut.GetLink(), q.StorePut.GetKey(), value)
	case *driverv1.ServicesResponse_SecretGet:
		return p.fillSecret(ctx, answer, q.SecretGet)
	case *driverv1.ServicesResponse_GatewayGet:
		name, now, err := services.Gateway(ctx)
		answer.Answer = &driverv1.ServicesRequest_Gateway{Gateway: &driverv1.Gateway{Name: name, TimeUnixNs: wire.EncodeTime(now)}}
		return err
	default:
		return driver.Errorf(driver.Unsupported, "question %d is of a kind that this gateway does not know: it is older than the driver", question.GetId())
	}
}

func (p *Process) fillSecret(ctx context.Context, answer *driverv1.ServicesRequest, q *driverv1.SecretGet) error {
	if err := wire.CheckSecret(q.GetName()); err != nil {
		return err
	}
	value, err := p.command.Services.Secret(ctx, q.GetLink(), q.GetName())
	if err == nil && len(value) > wire.MaxValue {
		err = driver.Errorf(driver.BadValue, "secret %q has %d bytes: at most %d are given out", q.GetName(), len(value), wire.MaxValue)
	}
	if err != nil {
		return err
	}
	answer.Answer = &driverv1.ServicesRequest_Secret{Secret: &driverv1.Secret{Value: value}}
	return nil
}
