/* A server that knows nothing of sockact, nor of any library: it speaks sd_listen_fds(3) and sd_notify(3) by
 * system calls, serves HTTP on descriptor 3 one connection after another, and ends in good order on SIGTERM.
 *
 * VERSION, a string, is given to the compiler.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTENER = 3 };

static int number(const char *variable)
{
    const char *text = getenv(variable);
    return text ? atoi(text) : -1;
}

static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (!path || strlen(path) >= sizeof address.sun_path)
        errx(1, "no NOTIFY_SOCKET");
    strcpy(address.sun_path, path);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    if (sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address,
               offsetof(struct sockaddr_un, sun_path) + strlen(path)) < 0)
        err(1, "%s", path);
    close(fd);
}

/* Read the head of a request to its end: bytes left unread would turn the close into a reset. */
static int heard(int connection)
{
    char head[8192] = "";
    size_t length = 0;
    ssize_t more;

    while (!strstr(head, "\r\n\r\n")) {
        more = read(connection, head + length, sizeof head - 1 - length);
        if (more <= 0)
            return 0;
        length += more;
        head[length] = '\0';
    }
    return 1;
}

static void answer(int connection)
{
    char body[100];
    int length = snprintf(body, sizeof body, "{\"version\": \"%s\", \"pid\": %d}", VERSION, getpid());

    if (heard(connection))
        dprintf(connection,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
                length, body);
    close(connection);
}

int main(void)
{
    sigset_t term;
    int connection, told;

    if (number("LISTEN_PID") != getpid() || number("LISTEN_FDS") != 1)
        errx(78, "expected one socket, passed to this process");
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    told = signalfd(-1, &term, SFD_CLOEXEC);
    /* Another worker may be faster: accept(2) must not wait for the connection after that, deaf to SIGTERM. */
    fcntl(LISTENER, F_SETFL, O_NONBLOCK);
    notify("READY=1\nSTATUS=version " VERSION);

    struct pollfd events[] = {{told, POLLIN, 0}, {LISTENER, POLLIN, 0}};
    while (poll(events, 2, -1) > 0 && !events[0].revents)
        if ((connection = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC)) >= 0)
            answer(connection);
    notify("STOPPING=1");
    return 0;
}
