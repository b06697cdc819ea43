// SPDX-License-Identifier: Apache-2.0

package dev.lossd.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class ScoredServiceTest {
  private final HttpClient http = HttpClient.newHttpClient();

  @Test
  void scoresWhatItHasServed() throws Exception {
    Process server =
        new ProcessBuilder(command("serve", "--listen", "127.0.0.1:0", "--admin-listen", ""))
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    String line = server.inputReader().readLine();
    try (var service = new ScoredService(line.replaceFirst(".* ", ""))) {
      assertEquals("0", post(service, "/predict?id=a", "1 0 0").body());
      assertEquals("2", post(service, "/predict?id=b", "0 0 1").body());
      assertEquals(0.51826, Double.parseDouble(post(service, "/label?id=a", "0").body()), 1e-3);

      HttpResponse<String> wrong = post(service, "/label?id=b", "3");
      assertEquals(400, wrong.statusCode());
      assertTrue(wrong.body().startsWith("target"), wrong.body());

      List<CompletableFuture<HttpResponse<String>>> labels = new ArrayList<>();
      for (int i = 0; i < 50; i++) {
        post(service, "/predict?id=" + i, "1 0 0");
      }
      for (int i = 0; i < 50; i++) {
        labels.add(
            http.sendAsync(
                request(service, "/label?id=" + i, "0"), HttpResponse.BodyHandlers.ofString()));
      }
      for (var label : labels) {
        assertEquals(0.51826, Double.parseDouble(label.join().body()), 1e-3);
      }
      String total = post(service, "/loss", "").body();
      assertTrue(total.endsWith(" of 51"), total);
      assertEquals(0.51826, Double.parseDouble(total.replaceFirst(" .*", "")), 1e-3);
    } finally {
      server.destroy();
    }
  }

  private static List<String> command(String... words) {
    List<String> command =
        new ArrayList<>(List.of(System.getenv().getOrDefault("LOSSD", "lossd").split(" ")));
    command.addAll(List.of(words));
    return command;
  }

  private HttpResponse<String> post(ScoredService service, String path, String body)
      throws IOException, InterruptedException {
    return http.send(request(service, path, body), HttpResponse.BodyHandlers.ofString());
  }

  private static HttpRequest request(ScoredService service, String path, String body) {
    URI uri = URI.create("http://127.0.0.1:" + service.port() + path);
    return HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofString(body)).build();
  }
}
