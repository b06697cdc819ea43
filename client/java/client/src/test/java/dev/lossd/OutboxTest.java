// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lossd.v1.LossResponse;
import dev.lossd.v1.MseLossRequest;
import dev.lossd.v1.StreamCall;
import io.grpc.Deadline;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class OutboxTest {
  private final Outbox outbox = new Outbox();

  private long add() {
    return outbox.add(
        new Pending<>(), MseLossRequest.getDefaultInstance(), Deadline.after(30, TimeUnit.SECONDS));
  }

  private List<Long> takeIds() {
    return outbox.take().getCallsList().stream().map(StreamCall::getId).toList();
  }

  @Test
  void sendsALoneCallAtOnceWithWhatIsLeftOfItsDeadline() {
    assertFalse(outbox.isReady());
    long id = add();
    assertTrue(outbox.isReady());
    var message = outbox.take();
    assertEquals(id, message.getCalls(0).getId());
    assertEquals(30, message.getCalls(0).getTimeoutSeconds(), 5);
    assertFalse(outbox.isReady());
  }

  @Test
  void gathersCallsWhileFourMessagesAreUnanswered() {
    for (int i = 0; i < 4; i++) {
      add();
      takeIds();
    }
    add();
    add();
    assertFalse(outbox.isReady());
    outbox.settle(2);
    assertEquals(List.of(5L, 6L), takeIds());
    outbox.settle(5);
    outbox.settle(6);
    assertFalse(outbox.isReady());
  }

  @Test
  void sharesManyWaitingCallsAmongMessages() {
    for (int i = 0; i < 200; i++) {
      add();
    }
    assertEquals(50, takeIds().size());
    assertEquals(37, takeIds().size());
    assertEquals(32, takeIds().size());
  }

  @Test
  void givesAnAnswerToItsWaiterOnce() {
    Pending<LossResponse> waiter = new Pending<>();
    long id =
        outbox.add(
            waiter, MseLossRequest.getDefaultInstance(), Deadline.after(1, TimeUnit.SECONDS));
    outbox.take();
    assertSame(waiter, outbox.settle(id));
    assertNull(outbox.settle(id));
  }

  @Test
  void takesACancelledCallOutOrCancelsItAtTheServer() {
    long sent = add();
    outbox.take();
    long unsent = add();
    outbox.cancel(unsent);
    assertFalse(outbox.isReady());
    outbox.cancel(sent);
    assertTrue(outbox.isReady());
    assertEquals(List.of(sent), outbox.take().getCancelledIdsList());
    assertFalse(outbox.isReady());
    assertNull(outbox.settle(sent));
  }

  @Test
  void sendsCancellationsEvenIfFourMessagesAreUnanswered() {
    for (int i = 0; i < 8; i++) {
      add();
      if (i < 4) {
        outbox.take();
      }
    }
    outbox.cancel(1); // its message is not unanswered any more, so this alone makes room
    outbox.take();
    assertFalse(outbox.isReady());
    outbox.settle(2);
    add();
    outbox.take();
    outbox.cancel(5);
    var message = outbox.take();
    assertEquals(List.of(5L), message.getCancelledIdsList());
  }
}
