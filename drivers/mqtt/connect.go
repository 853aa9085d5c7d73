package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fieldloom/fieldloom/core/driver"
)

// open dials the broker and begins or resumes the session.
func open(ctx context.Context, cfg driver.LinkConfig, set *linkSettings, who *login, env driver.Env) (driver.Link, error) {
	u, err := parseBroker(set.Broker)
	if err != nil {
		return nil, driver.Errorf(driver.InvalidConfig, "%w", err)
	}
	conn, err := dial(ctx, u, set, who)
	if err != nil {
		return nil, err
	}
	l := newLink(cfg, set, env)
	l.conn = newFrameConn(conn, set.MaxPayload, max(cfg.Timeout, time.Second))
	l.client = paho.NewClient(l.options(ctx, who))
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	token := l.client.Connect()
	<-token.Done() // bounded by the closing of the connection when ctx is done
	who.forget()
	if err := token.Error(); err != nil {
		stop()
		_ = l.conn.Close()
		return nil, refused(ctx, set, token.(*paho.ConnectToken).ReturnCode(), err)
	}
	if !token.(*paho.ConnectToken).SessionPresent() {
		l.settle = settleNew
	}
	l.start()
	if !stop() {
		_ = l.Close(context.WithoutCancel(ctx))
		return nil, driver.Errorf(driver.Timeout, "connect to %s: %w", set.Broker, ctx.Err())
	}
	l.log.Debug("connected", "link", l.name, "session_present", token.(*paho.ConnectToken).SessionPresent())
	return l, nil
}

// dial opens the connection. The library would use a proxy from the environment
// and know no ctx.
func dial(ctx context.Context, u *url.URL, set *linkSettings, who *login) (net.Conn, error) {
	var conn net.Conn
	var err error
	if encrypted(u) {
		cfg, cfgErr := set.tlsConfig(u, who)
		if cfgErr != nil {
			return nil, cfgErr
		}
		conn, err = (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", u.Host)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	}
	if err != nil {
		return nil, dialError(set.Broker, err)
	}
	return conn, nil
}

// dialError says so where the machine and not the broker refuses.
func dialError(broker string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EAFNOSUPPORT) {
		return driver.Errorf(driver.NotConnected, "connect to %s: its confinement, or a firewall, keeps the driver from the port: "+
			"it is given those that the URLs of its links name: %w", broker, err)
	}
	return driver.Errorf(driver.NotConnected, "connect to %s: %w", broker, err)
}

// options turns everything of the library off that would act by itself.
func (l *link) options(ctx context.Context, who *login) *paho.ClientOptions {
	o := paho.NewClientOptions()
	o.AddBroker(l.set.Broker) // never dialled by the library, but it wants one
	o.SetClientID(l.set.ClientID)
	o.SetCredentialsProvider(who.credentials)
	o.SetCleanSession(l.set.CleanSession)
	o.SetProtocolVersion(4) // MQTT 3.1.1, without a second try as 3.1
	o.SetKeepAlive(time.Duration(l.set.KeepAlive))
	o.SetPingTimeout(min(time.Duration(l.set.KeepAlive), 10*time.Second))
	o.SetConnectTimeout(untilDeadline(ctx, 30*time.Second))
	o.SetWriteTimeout(max(l.timeout, time.Second))
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetAutoAckDisabled(true)
	o.SetOrderMatters(true) // receive never blocks
	o.SetStore(noStore{})
	o.SetDefaultPublishHandler(l.receive)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) {
		l.lose(driver.Errorf(driver.NotConnected, "connection to %s was lost: %w", l.set.Broker, err))
	})
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return l.conn, nil })
	return o
}

func untilDeadline(ctx context.Context, otherwise time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Millisecond)
	}
	return otherwise
}

// refused turns the broker's answer to CONNECT into an instruction (table 3.1).
func refused(ctx context.Context, set *linkSettings, code byte, err error) error {
	switch {
	case ctx.Err() != nil, driver.CodeOf(err) == driver.Timeout:
		return driver.Errorf(driver.Timeout, "connect to %s: no answer from the broker: %w", set.Broker, err)
	case code == packets.ErrRefusedBadUsernameOrPassword, code == packets.ErrRefusedNotAuthorised:
		return driver.Errorf(driver.Denied, "connect to %s as %q: the broker refuses username or password: %w", set.Broker, set.Username, err)
	case code == packets.ErrRefusedIDRejected:
		return driver.Errorf(driver.InvalidConfig, "connect to %s: the broker rejects client_id %q", set.Broker, set.ClientID)
	case code == packets.ErrRefusedBadProtocolVersion:
		return driver.Errorf(driver.Unsupported, "connect to %s: the broker does not speak MQTT 3.1.1", set.Broker)
	default:
		return driver.Errorf(driver.NotConnected, "connect to %s: %w", set.Broker, err)
	}
}

// publish sends one message and waits for its acknowledgement.
func (l *link) publish(ctx context.Context, device, topic string, qos byte, retain bool, content []byte) error {
	if len(content) > l.set.MaxPayload {
		return driver.Errorf(driver.BadValue, "%d bytes are more than max_payload, %d", len(content), l.set.MaxPayload)
	}
	select {
	case <-l.lost:
		return driver.Errorf(driver.NotConnected, "publish on %q: %w: %w", topic, driver.ErrNotSent, l.cause())
	default:
	}
	if driver.Debugs(l.log) {
		driver.LogBytes(l.log.With("topic", topic, "qos", qos, "retained", retain), "sent", device, content)
	}
	token := l.client.Publish(topic, qos, retain, content)
	select {
	case <-token.Done():
	case <-l.lost:
	case <-ctx.Done():
		return driver.Errorf(driver.CodeOf(ctx.Err()), "publish on %q: no acknowledgement from the broker; it may have been delivered: %w", topic, ctx.Err())
	}
	// The library completes tokens without an error when a connection ends, so a
	// token counts only while its connection is there.
	select {
	case <-l.lost:
		return driver.Errorf(driver.NotConnected, "publish on %q: no acknowledgement from the broker; it may have been delivered: %w", topic, l.cause())
	default:
	}
	if err := token.Error(); err != nil {
		return driver.Errorf(notConnected(err), "publish on %q: %w", topic, err)
	}
	return nil
}

// notConnected is the code of the library's errors, which have no type.
func notConnected(err error) driver.Code {
	if code := driver.CodeOf(err); code != driver.Internal {
		return code
	}
	return driver.NotConnected
}

// errFull ends a connection on which more comes than the gateway takes.
var errFull = errors.New("the gateway takes messages more slowly than the broker sends them: " +
	"max_inflight is reached, and the broker keeps the rest")

// receive runs in the library's reader, so it must not wait for anything.
func (l *link) receive(_ paho.Client, m paho.Message) {
	now := time.Now()
	switch admitted := l.inflight.admit(m, now); {
	case admitted != full:
	case m.Qos() > 0: // the broker keeps it
		l.drop(driver.Errorf(driver.NotConnected, "%w", errFull))
	default:
		l.loseMessage(m, now, whyFull)
	}
}

// noStore is no store: what the library would keep to send on the next connection
// belongs to a link that is gone by then.
type noStore struct{}

var _ paho.Store = noStore{}

// Open does nothing.
func (noStore) Open() {}

// Put forgets the packet.
func (noStore) Put(string, packets.ControlPacket) {}

// Get finds nothing.
func (noStore) Get(string) packets.ControlPacket { return nil }

// All lists nothing.
func (noStore) All() []string { return nil }

// Del does nothing.
func (noStore) Del(string) {}

// Close does nothing.
func (noStore) Close() {}

// Reset does nothing.
func (noStore) Reset() {}
