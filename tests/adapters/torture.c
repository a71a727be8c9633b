// Fails the k-th call of one kind with one error, in a process that has this preloaded and is told so in a shared file.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ACCEPT, RECV, SEND, CONNECT, GETSOCKOPT, SETSOCKOPT, SHUTDOWN, CLOSE, WAIT, WAKE, HEAR, SOCKET, NAME, WATCH, KINDS };
enum { SHORT = -1 };

// The layout is that of torture.py.
struct order { atomic_int armed, kind, at, error, fired, counts[KINDS]; };
static struct order nobody, *order = &nobody;

__attribute__((constructor)) static void open_order(void) {
    const char *path = getenv("TORTURE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) order = at;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

// 0: nothing happens now; else the error number, or SHORT.
static int strikes(int kind) {
    if (!order->armed) return 0;
    int count = ++order->counts[kind];
    if (order->kind != kind || count != order->at) return 0;
    order->fired = 1;
    return order->error;
}

static int is_tcp(int fd) {
    int saved = errno, domain = 0;
    socklen_t size = sizeof domain;
    REAL(getsockopt);
    int failed = real(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    errno = saved;
    return !failed && (domain == AF_INET || domain == AF_INET6);
}

// TCP is RECV and SEND; pipes, event counters and Unix sockets are how threads wake each other.
static int kind_of(int fd, int tcp, int other) { return is_tcp(fd) ? tcp : fd > 2 ? other : KINDS; }
static int strikes_fd(int fd, int tcp, int other) {
    if (!order->armed) return 0;
    int kind = kind_of(fd, tcp, other);
    return kind < KINDS ? strikes(kind) : 0;
}

#define FAIL(hit) do { errno = (hit); return -1; } while (0)

int accept4(int fd, struct sockaddr *a, socklen_t *n, int flags) {
    REAL(accept4);
    int hit = strikes(ACCEPT);
    if (hit > 0) FAIL(hit);
    return real(fd, a, n, flags);
}
int accept(int fd, struct sockaddr *a, socklen_t *n) {
    REAL(accept);
    int hit = strikes(ACCEPT);
    if (hit > 0) FAIL(hit);
    return real(fd, a, n);
}
ssize_t recv(int fd, void *to, size_t size, int flags) {
    REAL(recv);
    int hit = strikes_fd(fd, RECV, HEAR);
    if (hit > 0) FAIL(hit);
    return real(fd, to, hit == SHORT && size ? 1 : size, flags);
}
ssize_t read(int fd, void *to, size_t size) {
    REAL(read);
    int hit = strikes_fd(fd, RECV, HEAR);
    if (hit > 0) FAIL(hit);
    return real(fd, to, hit == SHORT && size && is_tcp(fd) ? 1 : size);
}
ssize_t send(int fd, const void *from, size_t size, int flags) {
    REAL(send);
    int hit = strikes_fd(fd, SEND, WAKE);
    if (hit > 0) FAIL(hit);
    return real(fd, from, hit == SHORT && size ? 1 : size, flags);
}
ssize_t write(int fd, const void *from, size_t size) {
    REAL(write);
    int hit = strikes_fd(fd, SEND, WAKE);
    if (hit > 0) FAIL(hit);
    return real(fd, from, hit == SHORT && size && is_tcp(fd) ? 1 : size);
}
ssize_t writev(int fd, const struct iovec *from, int n) {
    REAL(writev);
    int hit = strikes_fd(fd, SEND, WAKE);
    if (hit > 0) FAIL(hit);
    struct iovec one = n ? from[0] : (struct iovec){0};
    if (hit == SHORT && one.iov_len) { one.iov_len = 1; return real(fd, &one, 1); }
    return real(fd, from, n);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    int hit = strikes_fd(fd, SEND, WAKE);
    if (hit > 0) FAIL(hit);
    if (hit == SHORT && message->msg_iovlen && message->msg_iov[0].iov_len) {
        struct msghdr less = *message;
        struct iovec one = message->msg_iov[0];
        one.iov_len = 1;
        less.msg_iov = &one;
        less.msg_iovlen = 1;
        return real(fd, &less, flags);
    }
    return real(fd, message, flags);
}
int connect(int fd, const struct sockaddr *a, socklen_t n) {
    REAL(connect);
    int hit = is_tcp(fd) ? strikes(CONNECT) : 0;
    if (hit > 0) FAIL(hit);
    return real(fd, a, n);
}
int getsockopt(int fd, int level, int name, void *value, socklen_t *size) {
    REAL(getsockopt);
    int hit = is_tcp(fd) ? strikes(GETSOCKOPT) : 0;
    if (hit > 0) FAIL(hit);
    return real(fd, level, name, value, size);
}
int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
    REAL(setsockopt);
    int hit = is_tcp(fd) ? strikes(SETSOCKOPT) : 0;
    if (hit > 0) FAIL(hit);
    return real(fd, level, name, value, size);
}
int shutdown(int fd, int how) {
    REAL(shutdown);
    int hit = is_tcp(fd) ? strikes(SHUTDOWN) : 0;
    if (hit > 0) FAIL(hit);
    return real(fd, how);
}
int close(int fd) {
    REAL(close);
    int hit = is_tcp(fd) ? strikes(CLOSE) : 0;
    int closed = real(fd);
    if (hit > 0) FAIL(hit);  // as on Linux: the descriptor is gone all the same
    return closed;
}
int socket(int domain, int type, int protocol) {
    REAL(socket);
    int hit = domain == AF_INET ? strikes(SOCKET) : 0;
    if (hit > 0) FAIL(hit);
    return real(domain, type, protocol);
}
int getsockname(int fd, struct sockaddr *a, socklen_t *n) {
    REAL(getsockname);
    int hit = is_tcp(fd) ? strikes(NAME) : 0;
    if (hit > 0) FAIL(hit);
    return real(fd, a, n);
}
int getpeername(int fd, struct sockaddr *a, socklen_t *n) {
    REAL(getpeername);
    int hit = is_tcp(fd) ? strikes(NAME) : 0;
    if (hit > 0) FAIL(hit);
    return real(fd, a, n);
}
int epoll_wait(int fd, struct epoll_event *events, int n, int timeout) {
    REAL(epoll_wait);
    int hit = strikes(WAIT);
    if (hit > 0) FAIL(hit);
    return real(fd, events, n, timeout);
}
int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *mask) {
    REAL(epoll_pwait);
    int hit = strikes(WAIT);
    if (hit > 0) FAIL(hit);
    return real(fd, events, n, timeout, mask);
}
int epoll_ctl(int fd, int op, int of, struct epoll_event *event) {
    REAL(epoll_ctl);
    int hit = op == EPOLL_CTL_DEL || !is_tcp(of) ? 0 : strikes(WATCH);
    if (hit > 0) FAIL(hit);
    return real(fd, op, of, event);
}
