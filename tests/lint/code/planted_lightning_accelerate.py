"""Trackers behind other libraries: Lightning's loggers, accelerate's trackers."""

import lightning as L
import torch
from accelerate import Accelerator
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger


class Classifier(L.LightningModule):
    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.head = backbone, head
        self.errors = []

    def training_step(self, batch, batch_idx):
        loss = torch.nn.functional.cross_entropy(self.head(self.backbone(batch["image"])), batch["label"])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        wrong = self.head(self.backbone(batch["image"])).argmax(-1) != batch["label"]
        self.errors.append(wrong.float().mean())

    def on_validation_epoch_end(self):
        self.logger.experiment.log({"val/error": torch.stack(self.errors).mean()})  # expect: SL101
        self.loggers[1].experiment.add_scalar("val/seen", len(self.errors), self.global_step)  # expect: SL101
        self.errors.clear()


class GradientNorms(L.Callback):
    """On the tracker that the trainer has."""

    def on_before_optimizer_step(self, trainer, module, optimizer):
        norms = {name: p.grad.norm() for name, p in module.named_parameters() if p.grad is not None}
        trainer.logger.experiment.log(norms, step=trainer.global_step)  # expect: SL101


def fit(module, loader, project):
    wandb_logger = WandbLogger(project=project, log_model=False)
    boards = TensorBoardLogger("boards")
    mlflow_logger = MLFlowLogger(experiment_name=project)
    wandb_logger.watch(module)
    trainer = L.Trainer(logger=[wandb_logger, boards, mlflow_logger], max_epochs=3)
    trainer.fit(module, loader)
    wandb_logger.experiment.log({"train/parameters": sum(p.numel() for p in module.parameters())})  # expect: SL101
    boards.experiment.add_text("model", repr(module), 0)  # expect: SL101
    mlflow_logger.experiment.log_metric(mlflow_logger.run_id, "epochs", trainer.current_epoch)  # expect: SL101
    mlflow_logger.log_metrics({"steps": trainer.global_step}, step=0)  # expect: SL101
    wandb_logger.experiment.finish()


def finetune(model, optimizer, loader, config):
    accelerator = Accelerator(log_with="wandb")
    accelerator.init_trackers(config.project, config=vars(config))
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for step, batch in enumerate(loader):
        loss = model(**batch).loss
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            accelerator.log({"train/loss": loss.item()}, step=step)  # expect: SL101, SL103
    accelerator.get_tracker("wandb").log({"train/done": 1}, step=step)  # expect: SL101
    accelerator.end_training()


class Trainer:
    def __init__(self, accelerator, model):
        self.accelerator, self.model = accelerator, model

    def evaluate(self, loader, step):
        scores = [self.model.score(batch) for batch in loader]
        self.accelerator.log({"eval/score": sum(scores) / len(scores)}, step=step)  # expect: SL101
